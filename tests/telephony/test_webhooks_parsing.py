from __future__ import annotations

from moshi_phone.hooks.events import call_event
from moshi_phone.telephony.webhooks import IncomingCall

FORM = {
    "CallSid": "CA1", "From": "+15551234567", "To": "+15557654321", "Direction": "outbound-api",
    "AccountSid": "AC1", "CallerCity": "Springfield",
}  # fmt: skip


def test_what_has_no_name_of_its_own_is_a_parameter() -> None:
    call = IncomingCall.from_form(FORM)
    assert call_event(call) == {
        "event": "call",
        "call_sid": "CA1",
        "from": "+15551234567",
        "to": "+15557654321",
        "direction": "outbound-api",
        "parameters": {"CallerCity": "Springfield"},
    }


def test_a_caller_who_hides_the_number_is_anonymous() -> None:
    call = IncomingCall.from_form({"CallSid": "CA1"})
    assert (call.from_, call.to, call.direction) == ("anonymous", "", "inbound")


def test_no_number_is_in_what_a_log_would_show() -> None:
    shown = repr(IncomingCall.from_form(FORM))
    assert "CA1" in shown
    assert not any(secret in shown for secret in ("555", "Springfield"))
