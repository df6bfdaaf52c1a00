"""Notices that somebody says the same words over and over. Pure."""

from __future__ import annotations

from collections import Counter, deque

_NGRAM_WORDS = 4
_WINDOW_WORDS = 60
_TIMES = 4  # "I am here. I am here. I am here. I am here." is no emphasis any more


class RepetitionDetector:
    """Takes a speaker's words piece by piece, and tells when they begin to go round in circles.

    The measure is how often one sequence of four words comes within the last sixty.
    """

    def __init__(self) -> None:
        self._word = ""  # not complete yet
        self._words: deque[str] = deque(maxlen=_WINDOW_WORDS)  # the last ones, in which a loop would show
        self._is_repeating = False  # already counted: one loop counts once

    def add(self, text: str) -> bool:
        """Take the next piece; gives whether a repetition begins with it.

        Args:
            text: with a space where a word begins.
        """
        begins = False
        for piece in text.replace(" ", "\0 ").split("\0"):
            if piece.startswith(" "):
                begins = self._end_word() or begins
                self._word = ""
            self._word = (self._word + piece.strip())[:50]
        return begins

    def _end_word(self) -> bool:
        word = "".join(c for c in self._word.lower() if c.isalnum())
        if not word:
            return False
        self._words.append(word)
        words = list(self._words)
        ngrams = Counter(zip(*(words[at:] for at in range(_NGRAM_WORDS)), strict=False))
        was_repeating = self._is_repeating
        self._is_repeating = any(times >= _TIMES for times in ngrams.values())
        return self._is_repeating and not was_repeating
