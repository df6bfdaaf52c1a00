"""Phrases that do something when they are said: by the caller, or by both."""

from __future__ import annotations

from collections.abc import Sequence

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    LLMFullResponseEndFrame,
    TranscriptionFrame,
    TTSTextFrame,
)

from processors.key_watch import Action
from processors.phrases import PhraseMatcher
from processors.words import CALLER


class PhraseWatch:
    """Listens for phrases in the words of both sides: an observer of a ``Tap``. Acts once.

    The phrase itself is in no sentence that could reach a log: what a caller says stays out of it.

    Args:
        phrases: any of which will do.
        by_both: whether the bot must have said it as well, before or after.
        action: is called once, with a sentence that says why.
    """

    def __init__(self, phrases: Sequence[str], action: Action, *, by_both: bool) -> None:
        self._caller, self._bot = PhraseMatcher(phrases), PhraseMatcher(phrases)
        self._by_both = by_both
        self._action: Action | None = action
        self._said_by_caller = self._said_by_bot = False

    def observe(self, frame: Frame) -> None:
        """Look into the words that pass."""
        if isinstance(frame, InterimTranscriptionFrame) and frame.user_id == CALLER:
            for piece in frame.result or ():
                self._said_by_caller |= self._caller.hear(piece.text)
        elif isinstance(frame, TranscriptionFrame):
            if frame.user_id != CALLER:  # of some other recognizer, which gives whole sentences
                self._said_by_caller |= self._caller.hear(f" {frame.text}")
            self._said_by_caller |= self._caller.pause()
        elif isinstance(frame, TTSTextFrame) and self._by_both:
            self._said_by_bot |= self._bot.hear(frame.text)
        elif isinstance(frame, LLMFullResponseEndFrame):  # which comes when the bot pauses
            self._said_by_bot |= self._bot.pause()
        if self._action and self._said_by_caller and (self._said_by_bot or not self._by_both):
            action, self._action = self._action, None
            action("both said goodbye" if self._by_both else "the caller asked for it")

    def close(self) -> None:
        """Nothing to finish."""
