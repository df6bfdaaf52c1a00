"""telephony/incoming_call.py: the meaning of a form's fields."""

from __future__ import annotations

import pytest

from moshi_phone.hooks.events import call_event
from moshi_phone.telephony.incoming_call import IncomingCall

FORM = {
    "CallSid": "CA1", "From": "+15551234567", "To": "+15557654321", "Direction": "outbound-api",
    "AccountSid": "AC1", "CallerCity": "Springfield",
}  # fmt: skip


def test_unknown_fields_are_parameters() -> None:
    call = IncomingCall.from_form(FORM)
    assert call_event(call) == {
        "event": "call",
        "call_sid": "CA1",
        "from": "+15551234567",
        "to": "+15557654321",
        "direction": "outbound-api",
        "parameters": {"CallerCity": "Springfield"},
    }


def test_a_caller_with_a_hidden_number_is_anonymous() -> None:
    call = IncomingCall.from_form({"CallSid": "CA1"})
    assert (call.from_, call.to, call.direction) == ("anonymous", "", "inbound")


def test_its_repr_contains_no_number() -> None:
    shown = repr(IncomingCall.from_form(FORM))
    assert "CA1" in shown
    assert not any(secret in shown for secret in ("555", "Springfield"))


LINE, CALLER = "+15557654321", "+15551234567"


@pytest.mark.parametrize(
    ("form", "own_number", "party", "caller_id"),
    [
        ({"From": CALLER, "To": LINE}, LINE, CALLER, None),
        ({"From": LINE, "To": CALLER, "Direction": "outbound-api"}, LINE, CALLER, None),
        ({"To": LINE}, LINE, "anonymous", LINE),  # a withheld number cannot be shown
        (
            {"From": "sip:a@b.example", "To": "sip:line@c.example"},
            "+15550000000",
            "sip:a@b.example",
            "+15550000000",
        ),
    ],
)
def test_the_account_s_number_and_the_possible_caller_id(
    form: dict[str, str], own_number: str, party: str, caller_id: str | None
) -> None:
    call = IncomingCall.from_form({"CallSid": "CA1", **form}, line_number="+15550000000")
    assert (call.own_number, call.party, call.caller_id) == (own_number, party, caller_id)
