"""Words that somebody chose, put into Moshi's mouth: the model chooses the moments, we choose the words.

The rules are those of the state machine in Kyutai's text-to-speech (``moshi/models/tts.py``), for a model
whose text stream has padding (3) and a token that begins a word (0).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Container
from dataclasses import dataclass

from sentencepiece import SentencePieceProcessor

from moshi_phone.engines.moshi.model.detokenizer import FIRST_SPOKEN_TOKEN, NEW_WORD_TOKEN, PADDING_TOKEN

MAX_PADDING_STEPS = 8  # from a word's 0 to the next one at most; the word's own pieces count as well
INITIAL_PADDING_STEPS = 2  # before the first word, so that its beginning is not swallowed
FINAL_PADDING_STEPS = 4  # after the last piece, until the word has been heard
MAX_WORDS = 1000  # that wait; some six minutes of speech
MAX_WORD_CHARS = 100  # longer than any word, and some ten seconds of one
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPELLING = str.maketrans({"’": "'", ":": " ", "(": None, ")": None})


@dataclass(frozen=True, slots=True)
class Word:
    """A word to say.

    Attributes:
        pieces: its text tokens, one a step.
        padding_steps: for how many steps after its 0 no other word may begin, its own pieces included.
    """

    pieces: tuple[int, ...]
    padding_steps: int = 0


def check_whole(text: str) -> None:
    """Make sure that a tokenizer takes a text: JSON can spell half a character, and so can a command line.

    Raises:
        ValueError: when it does not.
    """
    if _SURROGATE.search(text):
        raise ValueError("expected whole characters, got half a surrogate pair")


def words_of(text: str, tokenizer: SentencePieceProcessor) -> list[Word]:
    """Spell a text, each word by itself.

    Raises:
        ValueError: when nothing of it can be spelled, or a word is too long, or no text.
    """
    check_whole(text)
    spoken = text.translate(_SPELLING).split()
    if (longest := max(map(len, spoken), default=0)) > MAX_WORD_CHARS:
        raise ValueError(f"expected words of at most {MAX_WORD_CHARS} characters, got one of {longest}")
    encoded = (tokenizer.encode(word) for word in spoken)
    spelled = (tuple(piece for piece in pieces if piece >= FIRST_SPOKEN_TOKEN) for pieces in encoded)
    words = [Word(pieces) for pieces in spelled if pieces]
    if not words:
        raise ValueError(f"expected words to say, got {len(text)} characters without any")
    return words


def word_starts(tokenizer: SentencePieceProcessor) -> frozenset[int]:
    """Give the tokens by which Moshi begins a word: the 0, and every piece that begins with a space.

    Moshi learned the 0 only where there is a pause: in fluent speech the next word's first piece follows
    at once.
    """
    pieces = range(FIRST_SPOKEN_TOKEN, tokenizer.get_piece_size())
    return frozenset({NEW_WORD_TOKEN, *(id_ for id_ in pieces if tokenizer.id_to_piece(id_).startswith("▁"))})


class ForcedTextScheduler:
    """Decides what the text stream is fed, step by step, while there are words to say.

    Args:
        starts: tokens that count as the beginning of a word when the model draws them; every other one
            counts as padding. ``word_starts`` gives Moshi's.
        max_padding_steps: how long the model may wait from one word to the next.
        initial_padding_steps: forced before the first word.
    """

    def __init__(
        self,
        starts: Container[int] = frozenset({NEW_WORD_TOKEN}),
        *,
        max_padding_steps: int = MAX_PADDING_STEPS,
        initial_padding_steps: int = INITIAL_PADDING_STEPS,
    ) -> None:
        self._starts = starts
        self._max_padding_steps = max_padding_steps
        self._initial_padding_steps = initial_padding_steps
        self._words: deque[Word] = deque()  # that have not begun
        self._pieces: deque[int] = deque()  # of the word that has begun
        self._left_steps = 0  # of padding that is allowed
        self._forced_steps = 0  # of padding that is asked for
        self._final_steps = 0  # left until the last word's sound has come out

    @property
    def active(self) -> bool:
        """Whether the next step's text is for this to decide; otherwise the model is free."""
        return bool(self._pieces or self._words)

    @property
    def done(self) -> bool:
        """Whether all has been said, and some steps have passed in which its sound came out."""
        return not self.active and self._final_steps == 0

    def say(self, words: list[Word]) -> None:
        """Add words to those that wait.

        Raises:
            ValueError: when too many would wait; none of them is added then.
        """
        waiting = len(self._words) + len(words)
        if waiting > MAX_WORDS:
            raise ValueError(f"expected at most {MAX_WORDS} words that wait to be said, got {waiting}")
        if not self.active:
            self._left_steps = self._forced_steps = self._initial_padding_steps
        self._words.extend(words)
        self._final_steps = FINAL_PADDING_STEPS

    def drop_waiting(self) -> None:
        """Drop the words that have not begun; the pieces of one that has are still said."""
        self._words.clear()

    def decide(self, drawn: int) -> int:
        """Give the text token to feed, from the one that the model drew. Call it once a step.

        While this is not active, that is the drawn one.
        """
        if not self.active:
            self._final_steps = max(0, self._final_steps - 1)
            return drawn
        # Either the model wants a word now, or it has paused for as long as it may.
        asked = self._left_steps <= 0 or drawn in self._starts
        if not self._pieces and self._forced_steps <= 0 and asked:
            word = self._words.popleft()
            self._pieces.extend(word.pieces)
            self._left_steps, self._forced_steps = self._max_padding_steps, word.padding_steps
            return NEW_WORD_TOKEN
        self._left_steps = max(0, self._left_steps - 1)
        self._forced_steps = max(0, self._forced_steps - 1)
        return self._pieces.popleft() if self._pieces else PADDING_TOKEN
