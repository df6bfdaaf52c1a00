"""A transcript's lines, and the file that they go to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Literal

from moshi_phone.records.file_writer import FileWriter, WrittenFile

Speaker = Literal["caller", "bot"]


@dataclass(slots=True)
class TranscriptLine:
    """Words that one speaker said together.

    Attributes:
        at_s: when the first of them was said, since the start of the call.
        speaker: who said them.
        text: the words.
    """

    at_s: float
    speaker: Speaker
    text: str


Heading = Mapping[str, str]
NO_HEADING: Heading = MappingProxyType({})
_LENGTH_BYTES = 4


def heading(began: datetime, call_sid: str, engine: str, who: Heading = NO_HEADING) -> Heading:
    """Say what a transcript is of, in what its files begin with: date, call, engine, and who called.

    Args:
        began: when the call began, UTC.
        call_sid: its name, of letters and digits alone.
        engine: who answered, by name.
        who: ``from``, ``to`` and ``direction``, as far as they are known.
    """
    return {"date": f"{began:%Y-%m-%dT%H:%M:%SZ}", "call": call_sid, "engine": engine, **who}


@dataclass(frozen=True)
class Format:
    """How a file is written.

    Attributes:
        ending: of its name.
        line: writes a line.
        heading: writes what the file begins with.
    """

    ending: str
    line: Callable[[TranscriptLine], str]
    heading: Callable[[Heading], str]


def _text_line(line: TranscriptLine) -> str:
    return f"{line.at_s:8.2f}  {line.speaker:<6}  {line.text}\n"


def _text_heading(heading: Heading) -> str:
    return "".join(f"{name}: {value}\n" for name, value in heading.items()) + "\n"


def _json_line(line: TranscriptLine) -> str:
    return json.dumps(asdict(line) | {"at_s": round(line.at_s, 2)}, ensure_ascii=False) + "\n"


def _json_heading(heading: Heading) -> str:
    return json.dumps(dict(heading), ensure_ascii=False) + "\n"


TEXT = Format(".txt", _text_line, _text_heading)
JSON_LINES = Format(".jsonl", _json_line, _json_heading)


class TailSink:
    """A file whose last lines are rewritten; it is valid after each piece.

    Args:
        file: new and empty; closed with this.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._settled_bytes = 0  # of the file: what lies before this is never written again

    def write(self, data: bytes) -> None:
        """Write what ``TranscriptFile`` made: the length of what stays, this, and what may still change."""
        body = memoryview(data)[_LENGTH_BYTES:]
        self._file.seek(self._settled_bytes)
        self._file.write(body)
        self._file.truncate()
        self._file.flush()
        self._settled_bytes += int.from_bytes(data[:_LENGTH_BYTES], "big")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TranscriptFile:
    """One of a transcript's files. Returns at once from everything: it is written in the writer's thread.

    Args:
        path: without its ending.
        form: how it is written.
        files: writes it.
        heading: what it begins with, when there are words to follow; nothing if empty.
    """

    def __init__(self, path: Path, form: Format, files: FileWriter, heading: Heading = NO_HEADING) -> None:
        name = path.name + form.ending
        self._file: WrittenFile = files.open(path.with_name(name), TailSink, "transcript")
        self._form = form
        self._known = heading
        self._heading = form.heading(heading) if heading else ""

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._file.path

    @property
    def is_lost(self) -> bool:
        """Whether nothing of it could be written, so that there is none."""
        return self._file.is_lost

    def write(self, settled: Iterable[TranscriptLine], changing: Iterable[TranscriptLine]) -> None:
        """Add lines that stay as they are, and put those that may still change behind them."""
        stays, self._heading = (self._heading + self._encoded(settled)).encode(errors="replace"), ""
        tail = self._encoded(changing).encode(errors="replace")
        self._file.write(len(stays).to_bytes(_LENGTH_BYTES, "big") + stays + tail)

    def close(self) -> None:
        """Finish the file. May be called twice."""
        self._file.close()

    def conclude(self, more: Heading) -> None:
        """Add what is known only at a call's end to what the file begins with; after ``close``."""
        if not self._known:
            return
        old = self._form.heading(self._known).encode(errors="replace")
        new = self._form.heading({**self._known, **more}).encode(errors="replace")
        self._file.rewrite(lambda data: new + data[len(old) :] if data.startswith(old) else data)

    def discard(self) -> None:
        """Write nothing more, and delete the file."""
        self._file.discard()

    def _encoded(self, lines: Iterable[TranscriptLine]) -> str:
        return "".join(map(self._form.line, lines))
