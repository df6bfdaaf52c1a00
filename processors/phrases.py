"""Finds phrases in words that come in pieces. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """Give the words of a text, without what writing adds: case, commas, full stops."""
    return [word.replace("’", "'").casefold() for word in _WORD.findall(text)]


class PhraseMatcher:
    """Listens for any of some phrases.

    Args:
        phrases: case and punctuation do not matter; one without a word is never found.
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self._phrases = [words for phrase in phrases if (words := words_of(phrase))]
        self._longest = max(map(len, self._phrases), default=0)
        self._text = ""

    def hear(self, piece: str) -> bool:
        """Take a piece of text, with a space where a word begins; say whether a phrase is now complete.

        A word that is still being spoken does not count ("human" might become "humanity"): the next one, a
        full stop or ``pause`` ends it.
        """
        self._text += piece
        # Up to the last word's beginning, unless something behind it has ended it.
        whole = self._text if re.search(r"[^\w'’]$", self._text) else self._text.rpartition(" ")[0]
        return self._look(whole)

    def pause(self) -> bool:
        """Say whether a phrase is complete now that the speaker has paused."""
        return self._look(self._text)

    def _look(self, text: str) -> bool:
        words = words_of(text)
        found = any(
            words[at : at + len(phrase)] == phrase
            for phrase in self._phrases
            for at in range(len(words) - len(phrase) + 1)
        )
        if found:
            self._text = ""
        elif len(words) > 2 * self._longest + 2:  # no more is kept than a phrase may need
            self._text = " ".join(self._text.split(" ")[-self._longest - 1 :])
        return found
