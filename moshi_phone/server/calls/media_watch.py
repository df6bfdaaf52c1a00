"""Detects streams without media: dead sockets that were never closed, and calls that have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from moshi_phone.access.refusal import SERVICE_RESTART
from moshi_phone.runtime.watchdog import LATE_S
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.next_step import may_resume
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.net.socket_closing import close_socket

STILL_SECS = 5.0  # Twilio sends media every 20 ms, even in silence; network stalls are shorter

LastAudio = Callable[[], float]
"""Returns when the caller's audio, or silence in its place, last arrived; seconds, the event loop's clock."""


async def end_when_idle(call: Call, last_audio_s: LastAudio, idle_secs: float) -> None:
    """End a call after ``idle_secs`` without media."""
    await _no_audio_for(idle_secs, last_audio_s)
    call.request_end(f"no media came for {idle_secs:g} s")


async def close_dead_sockets(call: Call, last_audio_s: LastAudio, state: ServerState) -> None:
    """Close each socket of a call that delivers no more media, so that Twilio requests another stream."""
    while state.settings.calls.resume_secs:
        await _no_audio_for(STILL_SECS, last_audio_s)
        if call.websocket is not None and may_resume(call, state):
            await close_socket(call.websocket, SERVICE_RESTART, f"no media came for {STILL_SECS:g} s")
        await asyncio.sleep(STILL_SECS)  # time for the new stream to start


async def _no_audio_for(secs: float, last_audio_s: LastAudio) -> None:
    loop = asyncio.get_running_loop()
    # Not polling: it sleeps until a deadline that media moves, seldom more than once in that time.
    while (left_secs := last_audio_s() + secs - loop.time()) > 0:
        await asyncio.sleep(left_secs)
        if loop.time() - last_audio_s() > secs + LATE_S:  # this process was suspended
            await asyncio.sleep(LATE_S)  # audio may have arrived meanwhile
