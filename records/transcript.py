"""What was said in a call, line by line, in memory and in a file."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from records.file_writer import WrittenFile

PAUSE_S = 1.0  # after so long without a word, a new line begins
_SENTENCE_ENDS = (".", "!", "?")
_LINES_KEPT = 200


@dataclass(slots=True)
class TranscriptLine:
    """Words that were said together.

    Attributes:
        at_s: when the first of them was said, since the start of the call.
        text: the words.
    """

    at_s: float
    text: str


class TextSink:
    """A text file; each piece is in it when it has been written.

    Args:
        file: new and empty; closed with this.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        """Write UTF-8."""
        self._file.write(data)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def heading(began: datetime, call_sid: str, engine: str) -> str:
    """Say what a transcript is of, in the lines that its file begins with: date, call, engine."""
    return f"date: {began:%Y-%m-%dT%H:%M:%SZ}\ncall: {call_sid}\nengine: {engine}\n\n"


class Transcript:
    """What was said, line by line: the last 200 lines in memory, and all of them in a file if there is one.

    Each piece of text is on its way to the file the moment it comes, so a call that is cut loses none.

    Args:
        file: of ``TextSink``, or None.
        heading: what the file begins with, when there are words to follow.
    """

    def __init__(self, file: WrittenFile | None = None, heading: str = "") -> None:
        self.lines: deque[TranscriptLine] = deque(maxlen=_LINES_KEPT)
        self.pieces = 0
        self._last_s = 0.0
        self._file = file
        self._heading = heading

    def add(self, text: str, at_s: float) -> None:
        """Take a piece of text, with a space where a word begins."""
        if not text:
            return
        self.pieces += 1
        pausing = at_s - self._last_s > PAUSE_S
        self._last_s = at_s
        last = self.lines[-1] if self.lines else None
        sentence_over = last is not None and last.text.endswith(_SENTENCE_ENDS) and text.startswith(" ")
        if last is None or pausing or sentence_over:
            self.lines.append(TranscriptLine(at_s, text.lstrip()))
            self._write(f"{chr(10) if last else ''}{at_s:8.2f}  {text.lstrip()}")
        else:
            last.text += text
            self._write(text)

    def close(self) -> None:
        """Finish the file. May be called twice."""
        if self._file is not None:
            if self.pieces:
                self._write("\n")
            self._file.close()
            self._file = None

    def _write(self, text: str) -> None:
        if self._file is not None:
            text, self._heading = self._heading + text, ""
            self._file.write(text.encode(errors="replace"))
