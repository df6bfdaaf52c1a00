"""Streams that bring no media any more: dead sockets that nobody has closed, and calls that are over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from moshi_phone.access.refusal import SERVICE_RESTART
from moshi_phone.runtime.watchdog import LATE_S
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.next_step import may_resume
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.net.socket_closing import close_socket

STILL_SECS = 5.0  # Twilio sends media each 20 ms, in silence too; a stall of a network is shorter

LastAudio = Callable[[], float]
"""Says when the caller's audio last came, or silence in its place; on the event loop's clock."""


async def end_when_idle(call: Call, last_audio_s: LastAudio, idle_secs: float) -> None:
    """End a call when no media has come for so long."""
    await _no_audio_for(idle_secs, last_audio_s)
    call.request_end(f"no media came for {idle_secs:g} s")


async def close_dead_sockets(call: Call, last_audio_s: LastAudio, state: ServerState) -> None:
    """Close each of a call's sockets that brings nothing any more, so that another stream is asked for."""
    while state.settings.calls.resume_secs:
        await _no_audio_for(STILL_SECS, last_audio_s)
        if call.websocket is not None and may_resume(call, state):
            await close_socket(call.websocket, SERVICE_RESTART, f"no media came for {STILL_SECS:g} s")
        await asyncio.sleep(STILL_SECS)


async def _no_audio_for(secs: float, last_audio_s: LastAudio) -> None:
    loop = asyncio.get_running_loop()
    # Not polling: it sleeps up to a deadline that media has moved, seldom more than once in that time.
    while (left_secs := last_audio_s() + secs - loop.time()) > 0:
        await asyncio.sleep(left_secs)
        if loop.time() - last_audio_s() > secs + LATE_S:  # this process was frozen
            await asyncio.sleep(LATE_S)  # for what has come meanwhile
