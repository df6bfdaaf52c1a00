"""What both sides of a call said, line by line in order of time, in memory and in files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moshi_phone.records.consent import Consent
from moshi_phone.records.transcript_file import Heading, Speaker, TranscriptFile, TranscriptLine

PAUSE_S = 1.0  # after so long without a word of a speaker, a new line begins
LINE_CHARS = 1_000  # then a new line begins all the same: each piece has its whole line redacted and written
LATE_S = 10.0  # for so long words may still come in before others: the caller's are made out later
_SENTENCE_ENDS = (".", "!", "?")
_LINES_KEPT = 200


class Transcript:
    """What was said: the last 200 lines in memory, and all of them in files if there are any.

    Both speak at once, and the caller's words are made out later than the bot's; lines stand in the order in
    which they began. Each piece of text is on its way to the files the moment it comes, so a call that is cut
    loses none; the lines of the last seconds, which may still change, are rewritten with it.

    Args:
        files: that it is written to.
        redact: what is kept of a line's text, in memory and in the files.
        consent: what may not be kept is left out.
    """

    def __init__(
        self,
        files: Sequence[TranscriptFile] = (),
        redact: Callable[[str], str] = str,
        consent: Consent | None = None,
    ) -> None:
        self._consent = consent or Consent()
        self.lines: list[TranscriptLine] = []
        self.pieces = 0  # given so far: shows a reader that something changed
        self._redact = redact
        self._changing: list[_Changing] = []  # the end of ``lines``
        self._latest_s = 0.0  # the latest time that any piece has named: settles old lines
        self._files = files

    def add(self, text: str, at_s: float, speaker: Speaker = "bot") -> None:
        """Take a piece of text.

        Args:
            text: with a space where a word begins.
            at_s: when it was said, in seconds since the call began; of one speaker, in order.
            speaker: who said it.
        """
        if not self._consent.may_keep(at_s):
            return
        for start in range(0, len(text), LINE_CHARS):  # an engine elsewhere may send any length at once
            self._add(text[start : start + LINE_CHARS], at_s, speaker)

    def _add(self, text: str, at_s: float, speaker: Speaker) -> None:
        self.pieces += 1
        self._latest_s = max(self._latest_s, at_s)
        settled = self._settle()
        line = next((one for one in reversed(self._changing) if one.line.speaker == speaker), None)
        if line is None or line.is_over(text, at_s):
            line = self._begin(at_s, speaker)
        line.raw_text += text
        line.last_s, line.changed_s = max(line.last_s, at_s), self._latest_s
        line.line.text = self._redact(_whole(line.raw_text).lstrip())
        for file in self._files:
            file.write(settled, [one.line for one in self._changing])

    def discard(self) -> None:
        """Forget what was said, and delete the files."""
        self.lines.clear()
        self._changing.clear()
        self.pieces += 1  # something is new: nothing is left
        for file in self._files:
            file.discard()

    def conclude(self, more: Heading) -> None:
        """Add what is known only at a call's end to what the files begin with; after ``close``."""
        for file in self._files:
            file.conclude(more)

    def close(self) -> None:
        """Finish the files. May be called twice."""
        for file in self._files:
            file.close()

    def _begin(self, at_s: float, speaker: Speaker) -> _Changing:
        # Among those that may still change: words of the caller come later than they were said.
        place = bisect_right([one.line.at_s for one in self._changing], at_s)
        begun = _Changing(TranscriptLine(at_s, speaker, ""), at_s)
        self.lines.insert(len(self.lines) - len(self._changing) + place, begun.line)
        self._changing.insert(place, begun)
        if len(self.lines) > max(_LINES_KEPT, len(self._changing)):
            del self.lines[0]
        return begun

    def _settle(self) -> list[TranscriptLine]:
        """Take out the first lines that nothing will change any more, nor come before."""
        settled = []
        while self._changing and self._latest_s - self._changing[0].changed_s > LATE_S:
            settled.append(self._changing.pop(0).line)
        return settled


@dataclass(slots=True)
class _Changing:
    """A line that may still grow.

    Attributes:
        line: as it is shown.
        last_s: when its last word was said.
        changed_s: how far the call was when that came.
        raw_text: its words before any redaction.
    """

    line: TranscriptLine
    last_s: float
    changed_s: float = 0.0
    raw_text: str = ""

    def is_over(self, text: str, at_s: float) -> bool:
        """Whether a piece of the same speaker's begins another line."""
        word_over = text.startswith(" ")
        sentence_over = self.raw_text.endswith(_SENTENCE_ENDS) and word_over
        too_long = len(self.raw_text) >= LINE_CHARS and word_over
        if len(self.raw_text) >= 2 * LINE_CHARS:  # words of a language without blanks, or no words
            return True
        return sentence_over or too_long or at_s - self.last_s > PAUSE_S


def _whole(text: str) -> str:
    """Put surrogate pairs together that came in two pieces; half a pair, which no file takes, becomes �."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
