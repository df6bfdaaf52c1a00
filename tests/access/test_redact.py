"""access/redact.py: nothing that is logged contains a number or a secret."""

from __future__ import annotations

import pytest
from loguru import logger

from moshi_phone.access.redact import Redactor, redact, visible


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("call to +15551234567 failed", "call to +…567 failed"),
        ("Calls.json?To=%2B15551234567&x", "Calls.json?To=%2B…567&x"),
        ('{"to": "\\u002b15551234567"}', '{"to": "\\u002b…567"}'),
        ("+15551234567+4915112345678", "+…567+…678"),
        ("1+1 is +2, CA0123456789", "1+1 is +2, CA0123456789"),
        ("sip:15551234567@example.com", "sip:…567@example.com"),
        ("sip:+15551234567@example.com;user=phone", "sip:…567@example.com;user=phone"),
        ("sips%3A15551234567%40x", "sips%3A…567%40x"),
        ("tel:555-1234", "tel:…234"),
        ("004930123456 called", "00…456 called"),
        ("0049 30 1234567", "00…567"),
        ("+1 555 123 4567", "+…567"),
        ("+1 (555) 123-4567, +49.30.12345678", "+…567, +…678"),
        ("+1\u00a0555\u2011123\u20114567", "+…567"),
        ("To=%2B1%20555%20123%204567&", "To=%2B…567&"),
        ("From=15551234567&To=5551234567", "From=…567&To=…567"),
        ("(555) 123-4567 or 555-123-4567 or 1-555-123-4567", "…567 or …567 or …567"),
        ("044 123 45 67, 030 1234567, 0171/1234567, 01 23 45 67 89", "…567, …567, …567, …789"),
        ("+155512345678901234567890", "+…890"),
    ],
)
def test_phone_numbers(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21 15:36:13 2026-11-21T15-36-13Z-CA" + "1" * 32,
        "call=CA12345678901234567890123456789012 secs=12.3 delay_p50_ms=80 delay_p95_ms=100",
        "ws://127.0.0.1:5001/stream, 192.168.100.123, [2001:db8::1]",
        "80 100 120 300 ms; 24 of 24; +0.5% -1.25%; 1,000,000 bytes; 4.81 GB; port 65535",
        "0x7f9ce0fd4890, sha ab4812345678, expired 1800000000.25",
        "1 2 3 4 5 6 7 8 9 10",
        "sip:alice@example.com",
    ],
)
def test_other_digits_are_kept(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("José, ZÜRICH, 東京, 🦜\u00a0.", "José, ZÜRICH, 東京, 🦜\u00a0."),
        ("no\n12:00:00 INFO    forged", "no\\n12:00:00 INFO    forged"),
        ("\x1b[31mred\x1b[0m \x9b1m\r\x00\x7f", "\\x1b[31mred\\x1b[0m \\x9b1m\\r\\x00\\x7f"),
        ("\u202egnp.exe\u2028\u200b", "\\u202egnp.exe\\u2028\\u200b"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown
    visible(text).encode()


def test_secrets() -> None:
    assert Redactor(["s3cret", None, ""]).text("Authorization: s3cret, +15551234567") == (
        "Authorization: ***, +…567"
    )


def test_a_log_record() -> None:
    lines: list[str] = []
    patched = logger.patch(Redactor(["s3cret"]).patch)
    sink = logger.add(lines.append, format="{message}")
    try:
        patched.info("{} has {}", "+15551234567", "s3cret")
        patched.warning("{}", "x\n\x1b[31mERROR forged for sip:15551234567@x")
    finally:
        logger.remove(sink)
    assert lines == ["+…567 has ***\n", "x\\n\\x1b[31mERROR forged for sip:…567@x\n"]
