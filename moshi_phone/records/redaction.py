"""Redaction of numbers in transcripts, such as card and phone numbers."""

from __future__ import annotations

import re

MASK = "#"
SPOKEN_RUN = 3  # this many number words in a row are a dictated number; fewer are everyday speech
_NUMBER_WORDS = (
    "zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    "sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|"
    "thousand|double|triple|"
    # The listening model writes French too.
    "zéro|un|deux|trois|quatre|cinq|sept|huit|neuf|dix|onze|douze|treize|quatorze|quinze|seize|vingt|"
    "trente|quarante|cinquante|soixante|cents|cent|mille"
)
_DIGITS = re.compile(r"\d")
_BETWEEN = r"(?:[\s,.-]|\band\b|\bet\b)+"
_SPOKEN = re.compile(
    rf"\b(?:{_NUMBER_WORDS})\b(?:{_BETWEEN}(?:{_NUMBER_WORDS})\b){{{SPOKEN_RUN - 1},}}", re.IGNORECASE
)
_NUMBER_WORD = re.compile(rf"\b(?:{_NUMBER_WORDS})\b", re.IGNORECASE)


def redact_digits(text: str) -> str:
    """Mask every digit, and every word of a number spoken in three or more words.

    "It costs 25" becomes "It costs ##"; "four two, four two" becomes "# #, # #"; "one moment" stays.
    """
    return _SPOKEN.sub(lambda run: _NUMBER_WORD.sub(MASK, run.group()), _DIGITS.sub(MASK, text))
