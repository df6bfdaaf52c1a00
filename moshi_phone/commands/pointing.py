"""Routes the number of ``--number`` here while a command runs, and restores it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from loguru import logger

from moshi_phone.commands.options import phone_number_option
from moshi_phone.engines.personas import load_personas
from moshi_phone.runtime.stop_signals import StopSignals
from moshi_phone.server.settings import Settings, SettingsError
from moshi_phone.telephony.e164 import parse_number
from moshi_phone.telephony.number_group import NumberGroup

PUT_BACK_SECS = 10.0
FORCED_SECS = 2.0  # time for a pending request after a second Ctrl-C

number_option = phone_number_option(
    "Your Twilio number. It rings here while the program runs; afterwards its previous routing is "
    "restored. May be repeated. Your account's numbers in --personas ring here too."
)


def pointer_for(options: Settings, numbers: Sequence[str]) -> NumberGroup | None:
    """Create the routing of the numbers; None without a number or a URL.

    Raises:
        BadNumber, SettingsError: one sentence that names the remedy.
    """
    if not numbers or not options.is_public:
        return None  # TWILIO_NUMBER may be set for other commands; without a URL, nothing can be routed
    ours = [parse_number(number, "--number (TWILIO_NUMBER)") for number in numbers]
    for option, target in (
        ("--transfer-to", options.calls.transfer_to),
        ("--fallback-to", options.calls.fallback_to),
    ):
        if target and parse_number(target, option) in ours:
            raise SettingsError(
                f"{option} is the number that rings here: each such call would come in again."
            )
    # Keys also include callers' numbers, which are not the account's.
    also = load_personas(options.engine.personas).names_by_number
    return NumberGroup(options.rest_api("--number"), ours, also, logger.info)


async def restore(pointer: NumberGroup | None, stop: StopSignals) -> None:
    """Restore the numbers' previous routing, within a time limit."""
    if pointer is None:
        return
    putting = asyncio.ensure_future(pointer.restore())  # as a task, so that it can be abandoned
    if not await stop.wait_unless_forced(putting, within_secs=PUT_BACK_SECS, forced_secs=FORCED_SECS):
        putting.cancel()
        logger.error("The number's routing was not restored in time; the next start restores it")
    elif error := putting.exception():
        logger.error("{}", error)
