"""A transcript's lines and files."""

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
    """One line of a transcript.

    Attributes:
        at_s: time of its first word, since the start of the call.
        speaker: the speaker.
        text: the words.
    """

    at_s: float
    speaker: Speaker
    text: str


Heading = Mapping[str, str]
NO_HEADING: Heading = MappingProxyType({})
_LENGTH_BYTES = 4


def heading(began: datetime, call_sid: str, engine: str, who: Heading = NO_HEADING) -> Heading:
    """Return the heading of a transcript's files: date, call, engine, and the parties.

    Args:
        began: the call's begin, UTC.
        call_sid: its SID, letters and digits only.
        engine: the engine's name.
        who: ``from``, ``to`` and ``direction``, if known.
    """
    return {"date": f"{began:%Y-%m-%dT%H:%M:%SZ}", "call": call_sid, "engine": engine, **who}


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        ending: suffix of the file's name.
        line: formats a line.
        heading: formats the heading.
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
    """A file whose last lines are rewritten with each piece; valid after each.

    Args:
        file: new and empty; closed with this sink.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._settled_bytes = 0  # the file is final up to here

    def write(self, data: bytes) -> None:
        """Write a piece of ``TranscriptFile``: the final part's length, the final part, the changing part."""
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
    """One file of a transcript. No method blocks: the writer's thread writes the file.

    Args:
        path: the path without its suffix.
        form: the file's format.
        files: writes the file.
        heading: written before the first line; may be empty.
    """

    def __init__(self, path: Path, form: Format, files: FileWriter, heading: Heading = NO_HEADING) -> None:
        name = path.name + form.ending
        self._file: WrittenFile = files.open(path.with_name(name), TailSink, "transcript")
        self._form = form
        self._known = heading
        self._heading = form.heading(heading) if heading else ""

    @property
    def path(self) -> Path:
        """The file's path."""
        return self._file.path

    @property
    def is_lost(self) -> bool:
        """Whether nothing could be written, so that the file does not exist."""
        return self._file.is_lost

    def write(self, settled: Iterable[TranscriptLine], changing: Iterable[TranscriptLine]) -> None:
        """Append final lines, followed by the lines that may still change."""
        stays, self._heading = (self._heading + self._encoded(settled)).encode(errors="replace"), ""
        tail = self._encoded(changing).encode(errors="replace")
        self._file.write(len(stays).to_bytes(_LENGTH_BYTES, "big") + stays + tail)

    def close(self) -> None:
        """Finish the file. May be called twice."""
        self._file.close()

    def conclude(self, more: Heading) -> None:
        """Add facts of the call's end to the file's heading. Call it after ``close``."""
        if not self._known:
            return
        old = self._form.heading(self._known).encode(errors="replace")
        new = self._form.heading({**self._known, **more}).encode(errors="replace")
        self._file.rewrite(lambda data: new + data[len(old) :] if data.startswith(old) else data)

    def discard(self) -> None:
        """Stop writing, and delete the file."""
        self._file.discard()

    def _encoded(self, lines: Iterable[TranscriptLine]) -> str:
        return "".join(map(self._form.line, lines))
