"""What was said in a call, line by line, in memory and in a file."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from loguru import logger

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


class Transcript:
    """What was said, line by line: the last 200 lines in memory, and all of them in a file if there is one.

    Each piece of text is in the file the moment it comes, so a call that is cut loses none.

    Args:
        path: of the file, or None.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.lines: deque[TranscriptLine] = deque(maxlen=_LINES_KEPT)
        self.pieces = 0
        self._last_s = 0.0
        self._path = path
        self._file: TextIO | None = None

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
            self._write("\n")
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _write(self, text: str) -> None:
        if self._path is None:
            return
        try:
            if self._file is None:
                self._file = self._path.open("w", encoding="utf-8")
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            logger.error("The transcript {} ends here: {}", self._path, error)
            self._path = None
