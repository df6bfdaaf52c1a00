"""Forced text: Moshi speaks given words, and the model chooses their timing.

The rules follow the state machine of Kyutai's text-to-speech (``moshi/models/tts.py``), for a model whose
text stream has a padding token (3) and a token that begins a word (0).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Container
from dataclasses import dataclass

from sentencepiece import SentencePieceProcessor

from moshi_phone.engines.moshi.model.detokenizer import FIRST_SPOKEN_TOKEN, NEW_WORD_TOKEN, PADDING_TOKEN

MAX_PADDING_STEPS = 8  # at most, from one word's 0 to the next; the word's pieces count too
INITIAL_PADDING_STEPS = 2  # before the first word, so that its onset is not cut off
FINAL_PADDING_STEPS = 4  # after the last piece, until its audio has been generated
MAX_WORDS = 1000  # queued; some six minutes of speech
MAX_WORD_CHARS = 100  # longer than any word; some ten seconds of speech
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPELLING = str.maketrans({"’": "'", ":": " ", "(": None, ")": None})


@dataclass(frozen=True, slots=True)
class Word:
    """A word to speak.

    Attributes:
        pieces: its text tokens, one for each step.
        padding_steps: minimum steps from its 0 to the next word, its own pieces included.
    """

    pieces: tuple[int, ...]
    padding_steps: int = 0


def check_whole(text: str) -> None:
    """Reject text with lone surrogates, which JSON and command lines can contain and tokenizers refuse.

    Raises:
        ValueError: when the text contains one.
    """
    if _SURROGATE.search(text):
        raise ValueError("expected whole characters, got half a surrogate pair")


def words_of(text: str, tokenizer: SentencePieceProcessor) -> list[Word]:
    """Tokenize a text word by word.

    Raises:
        ValueError: when no word yields a token, a word is too long, or the text is invalid.
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
    """Return the tokens that begin a word: the 0, and every piece with a leading space.

    Moshi learned the 0 for pauses only: in fluent speech the next word's first piece follows directly.
    """
    pieces = range(FIRST_SPOKEN_TOKEN, tokenizer.get_piece_size())
    return frozenset({NEW_WORD_TOKEN, *(id_ for id_ in pieces if tokenizer.id_to_piece(id_).startswith("▁"))})


class ForcedTextScheduler:
    """Chooses the text token of each step while words are queued.

    Args:
        starts: drawn tokens that count as the beginning of a word; all others count as padding.
            ``word_starts`` returns Moshi's.
        max_padding_steps: longest pause between two words.
        initial_padding_steps: forced padding before the first word.
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
        self._words: deque[Word] = deque()  # not begun yet
        self._pieces: deque[int] = deque()  # remaining, of the word in progress
        self._left_steps = 0  # padding still allowed before the next word is forced
        self._forced_steps = 0  # padding still required before the next word may begin
        self._final_steps = 0  # until the last word's audio is complete

    @property
    def active(self) -> bool:
        """Whether the next step's text is forced; otherwise the model's choice is used."""
        return bool(self._pieces or self._words)

    @property
    def done(self) -> bool:
        """Whether all words have been spoken, including the final steps for the last one's audio."""
        return not self.active and self._final_steps == 0

    def say(self, words: list[Word]) -> None:
        """Queue words.

        Raises:
            ValueError: when the queue would exceed ``MAX_WORDS``; no word is added then.
        """
        waiting = len(self._words) + len(words)
        if waiting > MAX_WORDS:
            raise ValueError(f"expected at most {MAX_WORDS} words that wait to be said, got {waiting}")
        if not self.active:
            self._left_steps = self._forced_steps = self._initial_padding_steps
        self._words.extend(words)
        self._final_steps = FINAL_PADDING_STEPS

    def drop_waiting(self) -> None:
        """Drop the words that have not begun; the word in progress is completed."""
        self._words.clear()

    def decide(self, drawn: int) -> int:
        """Return the text token to feed in place of the drawn one. Call it once a step.

        Returns ``drawn`` while no words are queued.
        """
        if not self.active:
            self._final_steps = max(0, self._final_steps - 1)
            return drawn
        # The model begins a word here, or has reached the longest allowed pause.
        asked = self._left_steps <= 0 or drawn in self._starts
        if not self._pieces and self._forced_steps <= 0 and asked:
            word = self._words.popleft()
            self._pieces.extend(word.pieces)
            self._left_steps, self._forced_steps = self._max_padding_steps, word.padding_steps
            return NEW_WORD_TOKEN
        self._left_steps = max(0, self._left_steps - 1)
        self._forced_steps = max(0, self._forced_steps - 1)
        return self._pieces.popleft() if self._pieces else PADDING_TOKEN
