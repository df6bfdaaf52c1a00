"""The numbers of Moshi's text stream that are no pieces of words: its signs."""

from __future__ import annotations

NEW_WORD_TOKEN = 0  # ends a padding: a word begins
PADDING_TOKEN = 3
FIRST_SPOKEN_TOKEN = 4  # 1 and 2 begin and end a text; all from here on are pieces of words
SPECIAL_TOKENS = frozenset(range(FIRST_SPOKEN_TOKEN))
