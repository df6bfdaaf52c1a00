"""Phrases that do something when they are said: by the caller, or by both."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    LLMFullResponseEndFrame,
    TranscriptionFrame,
    TTSTextFrame,
)

from moshi_phone.audio.formats import FRAME_MS
from processors.dtmf_actions import Action
from processors.frames import EngineMetricsFrame
from processors.transcription_frames import CALLER, HEARD_S

MOST_CHARS = 1_000
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
        self._most_chars = MOST_CHARS + max(map(len, phrases), default=0)
        self._text = ""

    def hear(self, piece: str) -> bool:
        """Take a piece of text, with a space where a word begins; say whether a phrase is now complete.

        A word that is still being spoken does not count ("human" might become "humanity"): the next one, a
        full stop or ``pause`` ends it.
        """
        self._text = (self._text + piece)[-self._most_chars :]  # what has no blanks is never cut below
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


class PhraseTrigger:
    """Listens for phrases in the words of both sides: a monitor of a ``Tap``. Acts once.

    Where both must have said it, a caller who speaks on takes it back, and the trigger is armed again.

    The phrase itself is in no sentence that could reach a log: what a caller says stays out of it.

    Args:
        phrases: any of which will do.
        by_both: whether the bot must have said it as well, before or after.
        action: is called once, with a sentence that says why.
        take_back: is called when the caller speaks on after both have said it.
    """

    def __init__(
        self,
        phrases: Sequence[str],
        action: Action,
        *,
        by_both: bool,
        take_back: Callable[[], object] | None = None,
    ) -> None:
        self._caller, self._bot = PhraseMatcher(phrases), PhraseMatcher(phrases)
        self._by_both = by_both
        self._action = action
        self._take_back = take_back
        self._said_by_caller = self._said_by_bot = False
        self._heard_s = 0.0  # of the caller's audio, by now
        self._acted_at_s: float | None = None  # of the caller's audio; None while it is armed

    def observe(self, frame: Frame) -> None:
        """Look into the words that pass."""
        if isinstance(frame, EngineMetricsFrame):  # one for each frame of the caller's
            self._heard_s += FRAME_MS / 1000
        if self._acted_at_s is not None:
            self._look_for_more(frame)
            return
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
        if isinstance(frame, InterimTranscriptionFrame):
            self._heard_s = max(self._heard_s, frame.metadata.get(HEARD_S, 0.0))
        if self._said_by_caller and (self._said_by_bot or not self._by_both):
            self._acted_at_s = self._heard_s
            self._action("both said goodbye" if self._by_both else "the caller asked for it")

    def _look_for_more(self, frame: Frame) -> None:
        """Take it back when the caller says more: words that were said after it, not only heard after it."""
        if self._take_back is None or not isinstance(frame, TranscriptionFrame | InterimTranscriptionFrame):
            return
        if frame.user_id != CALLER:
            goes_on = bool(words_of(frame.text))
        else:
            pieces = (frame.result or ()) if isinstance(frame, InterimTranscriptionFrame) else ()
            acted_at_s = self._acted_at_s or 0.0
            goes_on = any(piece.at_s > acted_at_s and words_of(piece.text) for piece in pieces)
        if goes_on:
            self._acted_at_s = None
            self._said_by_caller = self._said_by_bot = False
            self._take_back()

    def close(self) -> None:
        """Nothing to finish."""
