"""Answers calls outside the opening hours of their line (``personas.toml``)."""

from __future__ import annotations

from loguru import logger

from moshi_phone.access.public_address import TRANSFERRED_PATH
from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.engines.line_hours import CLOSED_SAY, LineHours
from moshi_phone.engines.personas import Personas
from moshi_phone.records.call_row import Outcome
from moshi_phone.runtime.errors import UserError
from moshi_phone.server.calls.not_taken import not_taken
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.telephony import twiml
from moshi_phone.telephony.incoming_call import IncomingCall

REASON = "the line was closed"


class HoursUnusable(UserError):
    """The opening hours need an option that is missing; the text names it."""


def check_hours(personas: Personas, settings: Settings) -> None:
    """Check, before the first call, that every closed line has the options it needs.

    Raises:
        HoursUnusable: one sentence that names the missing option.
    """
    for name, line in personas.hours.items():
        if line.when_closed == "message" and settings.taps.fallback_record is None:
            raise HoursUnusable(
                f'--personas: [{name}] when_closed = "message" needs --fallback-record DIR, where messages '
                "are kept."
            )
        if line.when_closed == "transfer" and not (line.transfer_to or settings.calls.transfer_to):
            raise HoursUnusable(
                f'--personas: [{name}] when_closed = "transfer" needs closed_transfer_to, or --transfer-to.'
            )


def answer_closed(call: IncomingCall, state: ServerState) -> str | CallOverrides | None:
    """Return the answer of a closed line: TwiML, or engine settings; None if the line is open."""
    line = state.personas.hours_of(called=call.to, caller=call.from_)
    if line.hours.is_open(state.now()):
        return None
    if line.when_closed == "persona":
        return CallOverrides(persona=line.persona, greeting=line.greeting)
    section = state.personas.name_for_call(called=call.to, caller=call.from_)
    number = line.transfer_to or state.settings.calls.transfer_to
    if line.when_closed != "transfer" or number == call.own_number:  # it would ring here again
        number = None
    not_taken(state, call, Outcome.CLOSED, REASON, section=section, transfer_to=number)
    logger.info("The line is closed; the call gets {}", line.when_closed)
    return _twiml(line, call, state, number)


def _twiml(line: LineHours, call: IncomingCall, state: ServerState, number: str | None) -> str:
    options = state.settings.calls
    if number:
        return twiml.dial(
            number,
            options.transfer_ring_secs,
            state.webhooks.https(TRANSFERRED_PATH),
            caller_id=call.caller_id,
        )
    if line.when_closed == "message" and (url := state.recorded_url):
        return twiml.record(line.say or options.message_say, options.message_secs, url)
    return twiml.say(line.say or CLOSED_SAY)
