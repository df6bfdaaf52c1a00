"""What a caller gets whom we cannot serve: another number, a sentence, or the busy tone."""

from __future__ import annotations

from moshi_phone.server.calls.options import CallOptions
from moshi_phone.telephony import twiml


def fallback(options: CallOptions) -> str | None:
    """Give the TwiML of ``--fallback-to`` or ``--fallback-say``; None where neither is set."""
    if options.fallback_to:
        return twiml.dial(options.fallback_to, options.ring_secs)
    if options.fallback_say:
        return twiml.say(options.fallback_say)
    return None
