"""The files of one call: paths, contents and deletion. Blocks.

A row names a recording and a transcript. Next to the recording are the review's input (``.json``) and its
report (a folder of the same name); next to the transcript, the same words as JSON lines. A path must have the
name pattern of this program's files, so that a foreign database cannot lead to other files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from moshi_phone.records.call_row import CallRow

# The pattern of Call.file_name and private_files.create; no other file is read or deleted.
CALL_FILE = re.compile(
    r"(?P<began>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z)-[0-9A-Za-z]{0,34}(?:-[0-9]+)?"
    r"\.(?:wav|txt|jsonl|json)"
)
REPORT, PICTURE = "report.json", "conversation.png"
_REPORT_FILES = ("report.md", REPORT, PICTURE)
_MAX_WORDS_BYTES = 8 * 1024 * 1024  # a day's talk
_MAX_REPORT_BYTES = 4 * 1024 * 1024


def recordings(row: CallRow) -> list[Path]:
    """Return the existing recordings: one for each stream of the call."""
    return [path for path in _paths(row) if path.suffix == ".wav" and path.is_file()]


def words(row: CallRow) -> list[dict[str, Any]] | None:
    """Read the transcript's lines, with ``TranscriptLine``'s fields; None if there is no transcript.

    Raises:
        OSError: when it cannot be read.
    """
    for path in _paths(row):
        lines = path.with_suffix(".jsonl")
        if path.suffix == ".txt" and lines.is_file() and lines.stat().st_size <= _MAX_WORDS_BYTES:
            return list(_lines(lines.read_text(encoding="utf-8", errors="replace")))
    return None


def report(row: CallRow) -> dict[str, Any] | None:
    """Read the test report (``--review``); None if there is none."""
    for path in recordings(row):
        found = path.with_suffix("") / REPORT
        with suppress(OSError, ValueError):
            if found.stat().st_size <= _MAX_REPORT_BYTES:
                content: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
                return content
    return None


def picture(row: CallRow) -> Path | None:
    """Return the report's picture, or None."""
    pictures = (path.with_suffix("") / PICTURE for path in recordings(row))
    return next((path for path in pictures if path.is_file()), None)


def delete_files(row: CallRow) -> int:
    """Delete all files of a call; return their number.

    Raises:
        OSError: when an existing file cannot be deleted.
    """
    return sum(delete_with_report(one) for path in _paths(row) for one in _with_others(path))


def delete_with_report(path: Path) -> int:
    """Delete a file, and a recording's report; return the number of deleted files.

    Raises:
        OSError: when an existing file cannot be deleted.
    """
    deleted = _delete(path)
    folder = path.with_suffix("")
    if path.suffix == ".wav" and folder.is_dir() and not folder.is_symlink():
        deleted += sum(_delete(folder / name) for name in _REPORT_FILES)
        with suppress(OSError):  # it may hold files of the user's own
            folder.rmdir()
    return deleted


def _delete(path: Path) -> int:
    try:
        path.unlink()
    except FileNotFoundError:
        return 0
    return 1


def _paths(row: CallRow) -> list[Path]:
    return [Path(path) for path in row.files.values() if CALL_FILE.fullmatch(Path(path).name)]


def _with_others(path: Path) -> tuple[Path, ...]:
    others = {".wav": (".json",), ".txt": (".jsonl",)}.get(path.suffix, ())
    return (path, *(path.with_suffix(one) for one in others))


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and isinstance(entry.get("text"), str):
                at_s, speaker = entry.get("at_s"), entry.get("speaker")
                is_time = isinstance(at_s, int | float) and not isinstance(at_s, bool)
                if is_time and speaker in ("caller", "bot"):
                    yield {"at_s": at_s, "speaker": speaker, "text": entry["text"]}
