"""The transcript of a call: lines of both sides in order of time, in memory and in files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moshi_phone.records.consent import Consent
from moshi_phone.records.transcript_file import Heading, Speaker, TranscriptFile, TranscriptLine

PAUSE_S = 1.0  # a speaker's pause this long begins a new line
LINE_CHARS = 1_000  # longest line: each new piece redacts and writes its whole line again
LATE_S = 10.0  # words may arrive this late: the caller's are transcribed with a delay
_SENTENCE_ENDS = (".", "!", "?")
_LINES_KEPT = 200


class Transcript:
    """The transcript: the last 200 lines in memory, and all lines in files, if any.

    Lines are sorted by their begin: both sides speak at once, and the caller's words arrive later than the
    bot's. Each piece of text is queued for the files at once, so an aborted call loses none. The lines of the
    last seconds may still change, and are rewritten each time.

    Args:
        files: the transcript's files.
        redact: maps a line's text to the stored text.
        consent: text without consent is omitted.
    """

    def __init__(
        self,
        files: Sequence[TranscriptFile] = (),
        redact: Callable[[str], str] = str,
        consent: Consent | None = None,
    ) -> None:
        self._consent = consent or Consent()
        self.lines: list[TranscriptLine] = []
        self.pieces = 0  # number of changes so far, for readers
        self._redact = redact
        self._changing: list[_Changing] = []  # the end of ``lines``
        self._latest_s = 0.0  # the latest time of any piece: decides which lines are final
        self._files = files

    def add(self, text: str, at_s: float, speaker: Speaker = "bot") -> None:
        """Add a piece of text.

        Args:
            text: each word begins with a space.
            at_s: its time, in seconds since the call's begin; in order for each speaker.
            speaker: the speaker.
        """
        if not self._consent.may_keep(at_s):
            return
        for start in range(0, len(text), LINE_CHARS):  # a remote engine may send text of any length
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
        """Delete all lines and the files."""
        self.lines.clear()
        self._changing.clear()
        self.pieces += 1  # this is a change, too
        for file in self._files:
            file.discard()

    def conclude(self, more: Heading) -> None:
        """Add facts of the call's end to the files' headings. Call it after ``close``."""
        for file in self._files:
            file.conclude(more)

    def close(self) -> None:
        """Finish the files. May be called twice."""
        for file in self._files:
            file.close()

    def _begin(self, at_s: float, speaker: Speaker) -> _Changing:
        # Inserted by time among the changing lines, since the caller's words arrive late.
        place = bisect_right([one.line.at_s for one in self._changing], at_s)
        begun = _Changing(TranscriptLine(at_s, speaker, ""), at_s)
        self.lines.insert(len(self.lines) - len(self._changing) + place, begun.line)
        self._changing.insert(place, begun)
        if len(self.lines) > max(_LINES_KEPT, len(self._changing)):
            del self.lines[0]
        return begun

    def _settle(self) -> list[TranscriptLine]:
        """Remove and return the lines that have become final."""
        settled = []
        while self._changing and self._latest_s - self._changing[0].changed_s > LATE_S:
            settled.append(self._changing.pop(0).line)
        return settled


@dataclass(slots=True)
class _Changing:
    """A line that may still grow.

    Attributes:
        line: the line, redacted.
        last_s: time of its last word.
        changed_s: the call's time when that word arrived.
        raw_text: its text before redaction.
    """

    line: TranscriptLine
    last_s: float
    changed_s: float = 0.0
    raw_text: str = ""

    def is_over(self, text: str, at_s: float) -> bool:
        """Return whether the same speaker's next piece begins a new line."""
        word_over = text.startswith(" ")
        sentence_over = self.raw_text.endswith(_SENTENCE_ENDS) and word_over
        too_long = len(self.raw_text) >= LINE_CHARS and word_over
        if len(self.raw_text) >= 2 * LINE_CHARS:  # a language without spaces, or no words
            return True
        return sentence_over or too_long or at_s - self.last_s > PAUSE_S


def _whole(text: str) -> str:
    """Join surrogate pairs that arrived in two pieces; a lone surrogate becomes �."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
