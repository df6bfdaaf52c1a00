"""engines/said_words.py: words that cannot be spoken."""

from __future__ import annotations

import pytest

from moshi_phone.engines.said_words import fault_of_greeting


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Hello, this is Ben. What can I do for you?", None),
        ("Guten Tag — Zahnarztpraxis Dr. Müller & Söhne, 24 h!", None),
        ("Hello 🙂", "expected words, got '🙂', which nobody can say"),
        ("Hi\x07", "expected words, got '\\x07', which nobody can say"),
        ("word " * 150, None),
        ("word " * 400, "expected at most 150 words (a minute of speech), got 400"),
    ],
)
def test_which_words_can_be_spoken(text: str, fault: str | None) -> None:
    assert fault_of_greeting(text) == fault
