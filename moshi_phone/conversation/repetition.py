"""Detection of repeated words, as of a model stuck in a loop. Pure."""

from __future__ import annotations

from collections import Counter, deque

_NGRAM_WORDS = 4
_WINDOW_WORDS = 60
_TIMES = 4  # "I am here." four times is more than emphasis


class RepetitionDetector:
    """Detects when a speaker begins to repeat the same words.

    The criterion is the number of times that one sequence of four words occurs in the last sixty words.
    """

    def __init__(self) -> None:
        self._word = ""  # incomplete so far
        self._words: deque[str] = deque(maxlen=_WINDOW_WORDS)  # the window of the search
        self._is_repeating = False  # so that one loop counts once

    def add(self, text: str) -> bool:
        """Add the next piece of text; return whether a repetition begins with it.

        Args:
            text: each word begins with a space.
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
