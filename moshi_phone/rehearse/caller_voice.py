"""The voice of a reacting caller: a folder of clips, and a TOML file with the kind of each.

[[clip]]
file = "question-1.flac"
kind = "question"
says = "Hello. Could you tell me what you can do for me?"
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from moshi_phone.audio import g711, pcm
from moshi_phone.rehearse.clip import ClipUnusable, read_clip
from moshi_phone.rehearse.record import PACKET_SAMPLES

CLIPS_FILE = "clips.toml"

Kind = Literal["question", "open", "pause", "story", "interruption", "backchannel", "aside"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""A question; an open question with a long answer; a sentence with a pause; a longer story; an interruption;
a "mm-hm"; words to another person."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip of the caller.

    Attributes:
        kind: its kind.
        name: its file's name, without the suffix.
        mulaw: µ-law, 8 kHz, whole packets of 20 ms.
    """

    kind: Kind
    name: str
    mulaw: bytes = field(repr=False)


@dataclass(frozen=True)
class CallerVoice:
    """One caller's clips.

    Attributes:
        name: their folder's name.
        clips: in the file's order.
    """

    name: str
    clips: tuple[Clip, ...]

    def of(self, kind: Kind) -> list[Clip]:
        """Return the clips of a kind, in order."""
        return [clip for clip in self.clips if clip.kind == kind]


def load_voices(folder: Path) -> list[CallerVoice]:
    """Load a folder with a ``clips.toml``, or all such subfolders, sorted by name.

    Raises:
        ClipUnusable: when there is none, or one is unusable; the message gives the reason.
    """
    if (folder / CLIPS_FILE).is_file():
        return [_load(folder)]
    voices = [_load(file.parent) for file in sorted(folder.glob(f"*/{CLIPS_FILE}"))]
    if not voices:
        raise ClipUnusable(
            f"There is no {CLIPS_FILE} in {folder} nor in a folder there; docs/conversation.md shows one."
        )
    return voices


def _load(folder: Path) -> CallerVoice:
    path = folder / CLIPS_FILE
    try:
        sheet = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClipUnusable(f"Cannot read {path}: {error}") from error
    entries = sheet.get("clip")
    if not isinstance(entries, list) or not entries:
        raise ClipUnusable(f"{path}: expected [[clip]] entries, got none.")
    voice = CallerVoice(folder.name, tuple(_clip(path, entry) for entry in entries))
    if not voice.of("question"):
        raise ClipUnusable(f'{path}: expected at least one clip of the kind "question", got none.')
    return voice


def _clip(path: Path, entry: Any) -> Clip:
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        raise ClipUnusable(f'{path}: expected file = "…" in each [[clip]], got {entry!r}.')
    kind = entry.get("kind")
    if kind not in KINDS:
        raise ClipUnusable(
            f"{path}: expected a kind of {', '.join(KINDS)} for {entry['file']}, got {kind!r}."
        )
    mulaw = g711.encode(pcm.to_bytes(read_clip(path.parent / entry["file"])))
    return Clip(
        kind, Path(entry["file"]).stem, mulaw + bytes([g711.SILENCE]) * (-len(mulaw) % PACKET_SAMPLES)
    )
