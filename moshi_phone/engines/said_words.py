"""Validation of words for a model to speak, before a call. Pure."""

from __future__ import annotations

import unicodedata

MAX_GREETING_WORDS = 150
"""A minute of speech; who says more than that is no longer greeting."""
_UNSPEAKABLE = ("So", "Sk", "Cs", "Co", "Cn", "Cc")


def fault_of_greeting(text: str) -> str | None:
    """Return the error in a greeting's words, or None."""
    if strange := next(
        (c for c in text if unicodedata.category(c) in _UNSPEAKABLE and not c.isspace()), None
    ):
        return f"expected words, got {strange!r}, which nobody can say"
    if (count := len(text.split())) > MAX_GREETING_WORDS:
        return f"expected at most {MAX_GREETING_WORDS} words (a minute of speech), got {count}"
    return None
