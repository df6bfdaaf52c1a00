"""What a caller gets whom we cannot serve: another number, a sentence, or the busy tone."""

from __future__ import annotations

from moshi_phone.server.calls.options import CallOptions
from moshi_phone.telephony import twiml
from moshi_phone.telephony.e164 import parse_number
from moshi_phone.telephony.incoming_call import IncomingCall


def fallback(options: CallOptions, incoming: IncomingCall | None = None) -> str | None:
    """Give the TwiML of ``--fallback-to`` or ``--fallback-say``; None where neither is set.

    Args:
        options: which of them.
        incoming: the call; None where no webhook told of it.
    """
    number, caller_id = options.fallback_to, incoming.caller_id if incoming else None
    # The line's own number would ring here again, where there is still no session.
    if number and not (incoming and parse_number(number) == incoming.own_number):
        return twiml.dial(number, options.ring_secs, caller_id=caller_id)
    if options.fallback_say:
        return twiml.say(options.fallback_say)
    return None
