"""How the process stops: the first signal drains the running calls, the second hangs up at once.

When the time for draining is over, calls that can continue in another process are handed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from moshi_phone.access.refusal import SERVICE_RESTART
from moshi_phone.runtime.stop_signals import StopSignals
from moshi_phone.server.calls.call import Call, CallState
from moshi_phone.server.calls.calls import Calls

Say = Callable[[str], None]
CanGoOn = Callable[[Call], bool]
"""Returns whether the phone call can continue in another process."""

CLOSING = "the line is shutting down"
HANG_UP_SECS = 3.0  # time to end the calls (server/calls/ending.py limits each part)


async def drain(
    calls: Calls, stop: StopSignals, drain_secs: float, say: Say, can_go_on: CanGoOn = lambda _: False
) -> None:
    """Stop accepting calls, let the running ones finish, and hand over or hang up the rest.

    Args:
        calls: all calls of this process.
        stop: a second signal ends the waiting.
        drain_secs: time for the running calls.
        say: receives lines for the user.
        can_go_on: selects the calls to hand over; unused after a second signal.
    """
    calls.closing = CLOSING  # webhooks answer with it and streams are refused; running calls continue
    if count := len(calls.running):
        say(
            f"No new calls; {count} running may finish within {drain_secs:g} s. "
            "A second signal (or Ctrl-C) hangs up at once."
        )
        over = asyncio.ensure_future(calls.wait_until_idle())
        await stop.wait_unless_forced(over, within_secs=drain_secs)
        over.cancel()  # waited for again below, with its own limit
    if not stop.force_requested.is_set():
        _hand_over(calls, say, can_go_on)
    await hang_up_all(calls, say)


def _hand_over(calls: Calls, say: Say, can_go_on: CanGoOn) -> None:
    leaving = [call for call in calls.running if call.state is CallState.ACTIVE and can_go_on(call)]
    if leaving:
        say(f"Handing over {len(leaving)}.")
    for call in leaving:
        call.broke_off = True  # so that the phone call gets another stream instead of a hang-up
        call.request_end(CLOSING, SERVICE_RESTART)


async def hang_up_all(calls: Calls, say: Say) -> None:
    """Stop accepting calls and end the running ones."""
    calls.closing = CLOSING
    if count := sum(call.state is CallState.ACTIVE for call in calls.running):
        say(f"Hanging up {count}.")
        calls.end_all(CLOSING)
    try:
        async with asyncio.timeout(HANG_UP_SECS):
            await calls.wait_until_idle()
    except TimeoutError:
        say(f"{len(calls.running)} could not be ended in {HANG_UP_SECS:g} s.")
