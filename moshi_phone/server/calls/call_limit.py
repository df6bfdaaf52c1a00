"""The longest that a call may last: a notice before the end, and then the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from loguru import logger

from moshi_phone.engines.duplex import Unsupported
from moshi_phone.server.calls.call import Call, CallOver

NOTICE_SECS = 30.0
NOTICE = "This call ends in half a minute."
SHORT_NOTICE = "This call is about to end."


async def end_at_limit(call: Call, limit_secs: float, sound: Callable[[], None]) -> None:
    """Wait, give notice, wait again, and end the call. Cancelled when the call ends before.

    Args:
        call: has just begun.
        limit_secs: how long it may last.
        sound: makes a tone, where the engine cannot say the notice.
    """
    notice_secs = min(NOTICE_SECS, limit_secs / 2)
    await asyncio.sleep(limit_secs - notice_secs)
    try:
        call.say(NOTICE if notice_secs == NOTICE_SECS else SHORT_NOTICE)
    except Unsupported:
        sound()
    except (CallOver, ValueError) as error:
        logger.warning("Call {}: {}", call.name, error)
    # Not counted from the notice's end: who pays by the minute has asked for this limit and no other.
    await asyncio.sleep(notice_secs)
    call.end(f"it lasted {limit_secs:g} s, which --call-limit-secs allows")
