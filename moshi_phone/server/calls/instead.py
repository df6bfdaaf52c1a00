"""Answers calls that the ``--on-call`` hook does not accept."""

from __future__ import annotations

from loguru import logger

from moshi_phone.access.public_address import TRANSFERRED_PATH
from moshi_phone.hooks.on_call import Instead
from moshi_phone.records.call_row import Outcome
from moshi_phone.server.calls.not_taken import not_taken
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony import twiml
from moshi_phone.telephony.incoming_call import IncomingCall

NOT_ACCEPTED = "--on-call does not accept it"


def give_instead(call: IncomingCall, instead: Instead, state: ServerState) -> str:
    """Enter a call that the hook does not accept; return the TwiML that answers it.

    Args:
        call: as announced by the webhook.
        instead: the hook's choice of answer.
        state: shared state of the server.
    """
    options, recorded_url = state.settings.calls, state.recorded_url
    outcome, reason, number = Outcome.REFUSED, NOT_ACCEPTED, None
    if instead.transfer_to and instead.transfer_to != call.own_number:  # own number: it would ring here again
        outcome, reason, number = Outcome.TRANSFERRED, "--on-call puts it through", instead.transfer_to
        url = state.webhooks.https(TRANSFERRED_PATH)
        document = twiml.dial(number, options.transfer_ring_secs, url, caller_id=call.caller_id)
    elif instead.message and recorded_url:
        reason = "--on-call asks for a message"
        document = twiml.record(instead.message, options.message_secs, recorded_url)
    elif instead.say:
        document = twiml.say(instead.say)
    else:
        if instead.message:
            logger.error("--on-call asks for a message, which needs --fallback-record; the caller hears busy")
        document = twiml.reject("busy")
    not_taken(state, call, outcome, reason, transfer_to=number)
    return document
