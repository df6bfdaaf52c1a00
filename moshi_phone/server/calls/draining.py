"""How the process ends: asked once, it lets the running calls finish; asked twice, it goes at once.

What still runs when the time for that is over is handed over, where the phone call can go on elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from moshi_phone.access.refusal import SERVICE_RESTART
from moshi_phone.runtime.stop_signals import StopSignals
from moshi_phone.server.calls.call import Call, Calls, CallState

Say = Callable[[str], None]
CanGoOn = Callable[[Call], bool]
"""Tells whether the phone call can go on at another process."""

CLOSING = "the line is shutting down"
HANG_UP_SECS = 3.0  # what ending a call may take (server/calls/ending.py has the bounds of its parts)


async def drain(
    calls: Calls, stop: StopSignals, drain_secs: float, say: Say, can_go_on: CanGoOn = lambda _: False
) -> None:
    """Take no more calls, let the running ones finish, and hand over or hang up what is left.

    Args:
        calls: those of this process.
        stop: ends the waiting when somebody insists.
        drain_secs: how long the running calls may go on.
        say: takes one line for a person to read.
        can_go_on: which are handed over; none where somebody insists.
    """
    calls.closing = CLOSING  # from now on webhooks hear that and streams are refused; what runs goes on
    if count := len(calls.running):
        say(
            f"No new calls; {count} running may finish within {drain_secs:g} s. "
            "A second signal (or Ctrl-C) hangs up at once."
        )
        over = asyncio.ensure_future(calls.wait_until_idle())
        await stop.wait_unless_forced(over, within_secs=drain_secs)
        over.cancel()  # it is awaited again below, with a time limit of its own
    if not stop.force_requested.is_set():
        _hand_over(calls, say, can_go_on)
    await hang_up_all(calls, say)


def _hand_over(calls: Calls, say: Say, can_go_on: CanGoOn) -> None:
    leaving = [call for call in calls.running if call.state is CallState.ACTIVE and can_go_on(call)]
    if leaving:
        say(f"Handing over {len(leaving)}.")
    for call in leaving:
        call.broke_off = True
        call.request_end(CLOSING, SERVICE_RESTART)


async def hang_up_all(calls: Calls, say: Say) -> None:
    """Take no more calls, and end those that run."""
    calls.closing = CLOSING
    if count := sum(call.state is CallState.ACTIVE for call in calls.running):
        say(f"Hanging up {count}.")
        calls.end_all(CLOSING)
    try:
        async with asyncio.timeout(HANG_UP_SECS):
            await calls.wait_until_idle()
    except TimeoutError:
        say(f"{len(calls.running)} could not be ended in {HANG_UP_SECS:g} s.")
