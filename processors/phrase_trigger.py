"""Runs an action when a phrase is said: by the caller, or by both sides."""

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

MAX_CHARS = 1_000  # limit on buffered text, in addition to the longest phrase
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """Return the words of a text, without case and punctuation."""
    return [word.replace("’", "'").casefold() for word in _WORD.findall(text)]


class PhraseMatcher:
    """Detects phrases in a stream of text.

    Args:
        phrases: matched without case and punctuation; a phrase without words never matches.
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self._phrases = [words for phrase in phrases if (words := words_of(phrase))]
        self._longest = max(map(len, self._phrases), default=0)
        self._max_chars = MAX_CHARS + max(map(len, phrases), default=0)
        self._text = ""  # text that may contain the beginning of a phrase

    def hear(self, piece: str) -> bool:
        """Add a piece of text, in which a space begins a word; return whether a phrase is now complete.

        A word in progress does not count ("human" may become "humanity"): the next word, a full stop or
        ``pause`` completes it.
        """
        self._text = (self._text + piece)[-self._max_chars :]  # text without blanks is not cut below
        # Without the last word, unless a character behind it has completed it.
        whole = self._text if re.search(r"[^\w'’]$", self._text) else self._text.rpartition(" ")[0]
        return self._look(whole)

    def pause(self) -> bool:
        """Return whether a phrase is complete, as the speaker has paused."""
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
        elif len(words) > 2 * self._longest + 2:  # only as much as a phrase can need
            self._text = " ".join(self._text.split(" ")[-self._longest - 1 :])
        return found


class PhraseTrigger:
    """Runs an action once a phrase is said. A monitor for ``Tap``.

    If both sides must say it and the caller continues to speak, the trigger is revoked and armed again. The
    phrase appears in no log line: the caller's words stay out of the log.

    Args:
        phrases: any of them triggers the action.
        by_both: whether the bot must say it as well, before or after.
        action: called once, with the reason in one sentence.
        take_back: called if the caller continues to speak after both have said it.
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
        self._heard_s = 0.0  # length of the caller's audio so far
        self._acted_at_s: float | None = None  # position in the caller's audio; None while armed

    def observe(self, frame: Frame) -> None:
        """Examine the words that pass."""
        if isinstance(frame, EngineMetricsFrame):  # one per frame of the caller
            self._heard_s += FRAME_MS / 1000
        if self._acted_at_s is not None:
            self._look_for_more(frame)
            return
        if isinstance(frame, InterimTranscriptionFrame) and frame.user_id == CALLER:
            for piece in frame.result or ():
                self._said_by_caller |= self._caller.hear(piece.text)
        elif isinstance(frame, TranscriptionFrame):
            if frame.user_id != CALLER:  # another recognizer, which transcribes whole sentences
                self._said_by_caller |= self._caller.hear(f" {frame.text}")
            self._said_by_caller |= self._caller.pause()
        elif isinstance(frame, TTSTextFrame) and self._by_both:
            self._said_by_bot |= self._bot.hear(frame.text)
        elif isinstance(frame, LLMFullResponseEndFrame):  # the bot has paused
            self._said_by_bot |= self._bot.pause()
        if isinstance(frame, InterimTranscriptionFrame):
            self._heard_s = max(self._heard_s, frame.metadata.get(HEARD_S, 0.0))
        if self._said_by_caller and (self._said_by_bot or not self._by_both):
            self._acted_at_s = self._heard_s
            self._action("both said goodbye" if self._by_both else "the caller asked for it")

    def _look_for_more(self, frame: Frame) -> None:
        """Revoke the trigger if the caller says more: words spoken, not only transcribed, after it."""
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
        """Do nothing: no state to release."""
