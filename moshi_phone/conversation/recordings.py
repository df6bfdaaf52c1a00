"""Block-wise reader of recorded calls: one stereo file or two mono files, at any sample rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.runtime.errors import UserError

BLOCK_S = 10.0
SUFFIXES = (".wav", ".flac", ".ogg", ".aiff", ".aif", ".au", ".mp3")
_CHANNELS = 2


class RecordingUnusable(UserError):
    """A recording is unusable; the message gives the reason and the expected format."""


def read_call(paths: Sequence[Path]) -> Iterator[NDArray[np.int16]]:
    """Yield a recorded call in blocks of 10 s: int16 ``[n, 2]``, 8 kHz, the caller left, the bot right.

    Args:
        paths: one stereo file (the caller left), or two mono ones (the caller's first).

    Raises:
        RecordingUnusable: when a file cannot be read, holds no audio, or has other channels.
    """
    with ExitStack() as opened:
        files = [opened.enter_context(_open(path)) for path in paths]
        channels = [file.channels for file in files]
        if channels not in ([_CHANNELS], [1, 1]):
            raise RecordingUnusable(_wrong_channels(paths, channels))
        if not any(file.frames for file in files):
            raise RecordingUnusable(f"{paths[0]} holds no audio.")
        if len(files) == 1:
            yield from _at_phone_rate(paths[0], files[0])
            return
        sides = [_at_phone_rate(path, file) for path, file in zip(paths, files, strict=True)]
        yield from _side_by_side(*sides)


def _open(path: Path) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(path)
    except (OSError, TypeError, soundfile.LibsndfileError) as error:
        if not path.exists():
            raise RecordingUnusable(f"There is no file {path}.") from error
        raise RecordingUnusable(f"{path} is no sound file that can be read (WAV, FLAC, …).") from error


def _wrong_channels(paths: Sequence[Path], channels: list[int]) -> str:
    if channels == [1]:
        return (
            f"{paths[0]} has one channel, in which the voices cannot be told apart; give a stereo file "
            "(the caller left), or two mono files with --pair, the caller's first."
        )
    found = ", ".join(f"{path} has {count}" for path, count in zip(paths, channels, strict=True))
    return f"Expected one file of two channels or two files of one, but {found}."


def _at_phone_rate(path: Path, file: soundfile.SoundFile) -> Iterator[NDArray[np.int16]]:
    """Yield a file's audio at 8 kHz: int16 ``[n, channels]``."""
    resampler = None
    if file.samplerate != PHONE_RATE_HZ:
        resampler = soxr.ResampleStream(file.samplerate, PHONE_RATE_HZ, file.channels, dtype="float32")
    block = max(1, round(BLOCK_S * file.samplerate))
    is_last = False
    while not is_last:
        try:
            # As floats: as integers, libsndfile would truncate a float file's samples to 0 and 1.
            samples = file.read(block, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise RecordingUnusable(f"{path} is damaged: {error}") from error
        is_last = len(samples) < block
        if resampler is not None:
            samples = resampler.resample_chunk(samples, last=is_last)
        yield (32767 * np.clip(np.nan_to_num(samples), -1, 1)).astype(np.int16).reshape(-1, file.channels)


def _side_by_side(
    caller: Iterator[NDArray[np.int16]], bot: Iterator[NDArray[np.int16]]
) -> Iterator[NDArray[np.int16]]:
    """Yield two mono voices as stereo; the shorter one is padded with silence."""
    rest = [np.zeros(0, np.int16), np.zeros(0, np.int16)]
    sides: list[Iterator[NDArray[np.int16]] | None] = [caller, bot]
    while any(side is not None for side in sides) or any(part.size for part in rest):
        for index, side in enumerate(sides):
            if side is None:
                continue
            block = next(side, None)
            if block is None:
                sides[index] = None
            else:
                rest[index] = np.concatenate((rest[index], block[:, 0]))
        if all(side is not None for side in sides):
            ready = min(part.size for part in rest)
        else:  # one side has ended: its remaining audio is used up first
            ready = max(part.size for part in rest)
        both = np.zeros((ready, _CHANNELS), np.int16)
        for index, part in enumerate(rest):
            both[: min(ready, part.size), index] = part[:ready]
            rest[index] = part[ready:]
        if ready:
            yield both


def calls_in(folder: Path) -> list[Path]:
    """Return the recordings in a folder and its subfolders, sorted by path."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(found)
