"""access/redact.py: nothing that is written down holds a number or a secret."""

from __future__ import annotations

import pytest
from loguru import logger

from access.redact import Redactor, redact


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("call to +15551234567 failed", "call to +…567 failed"),
        ("Calls.json?To=%2B15551234567&x", "Calls.json?To=%2B…567&x"),
        ('{"to": "\\u002b15551234567"}', '{"to": "\\u002b…567"}'),
        ("+15551234567+4915112345678", "+…567+…678"),
        ("1+1 is +2, CA0123456789", "1+1 is +2, CA0123456789"),
    ],
)
def test_phone_numbers(text: str, clean: str) -> None:
    assert redact(text) == clean


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
    finally:
        logger.remove(sink)
    assert lines == ["+…567 has ***\n"]
