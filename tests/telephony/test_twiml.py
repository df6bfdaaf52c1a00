"""telephony/twiml.py: the exact documents."""

from __future__ import annotations

from moshi_phone.access.tokens import ANY_CALL, StreamTokens
from moshi_phone.telephony.twiml import connect_stream, dial, reject

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


def test_connect_a_stream() -> None:
    assert connect_stream("wss://phone.example.com/stream", "a.b", "https://phone.example.com/status") == (
        HEAD + '<Response><Connect><Stream statusCallback="https://phone.example.com/status" '
        'url="wss://phone.example.com/stream"><Parameter name="token" value="a.b" /></Stream>'
        "</Connect></Response>"
    )


def test_without_a_status_url() -> None:
    assert "statusCallback" not in connect_stream("wss://a.b/stream", "t")


def test_a_busy_tone() -> None:
    assert reject("busy") == HEAD + '<Response><Reject reason="busy" /></Response>'


def test_a_document_fits_a_dialled_call() -> None:
    token = StreamTokens.from_auth_token("x").mint(ANY_CALL, 1_800_000_000)
    base = "https://" + "h" * 253
    assert len(connect_stream(f"wss://{'h' * 253}/stream", token, base + "/status")) < 4000


def test_a_number_is_dialled_in_its_parsed_form() -> None:
    assert dial(" +44 (0)20 7946-0018 ", 20) == (
        HEAD + '<Response><Dial timeout="20"><Number>+442079460018</Number></Dial></Response>'
    )
