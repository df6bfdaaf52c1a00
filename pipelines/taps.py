"""The taps of a call: which stages watch it, by what is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from loguru import logger
from pipecat.processors.frame_processor import FrameProcessor

from processors.meter import CallFigures, Meter
from processors.recorder import Recorder, Recording
from processors.tap import Tap, Watcher
from processors.tap_options import TapOptions
from processors.transcript import Transcriber, Transcript


class DirectoryUnusable(Exception):
    """A directory that cannot be written to; the text says which, and why."""


@dataclass
class Watched:
    """What the taps of one call fill: read it at any time.

    Attributes:
        figures: of the call.
        transcript: of what the bot puts into words.
    """

    figures: CallFigures = field(default_factory=CallFigures)
    transcript: Transcript = field(default_factory=Transcript)


@dataclass
class Taps:
    """The stages for ``phone_call``.

    Attributes:
        ears: for the caller's end of the line.
        taps: for the bot's.
    """

    ears: list[FrameProcessor] = field(default_factory=list[FrameProcessor])
    taps: list[FrameProcessor] = field(default_factory=list[FrameProcessor])


def make_taps(options: TapOptions, name: str, watched: Watched) -> Taps:
    """Make the taps of a call. A file that cannot be made is logged, and the call goes on without it.

    Args:
        options: what to keep.
        name: of the call's files, without their ending.
        watched: is filled.
    """
    ears: list[Watcher] = []
    watchers: list[Watcher] = []
    if options.meter:
        watchers.append(Meter(watched.figures))
    if options.transcripts:
        watched.transcript = Transcript(options.transcripts / f"{name}.txt")
    watchers.append(Transcriber(watched.transcript))
    if options.record and (recording := _recording(options.record / f"{name}.wav")):
        ears.append(Recorder(recording))
        watchers.append(Recorder(recording))
    return Taps([Tap(*ears)] if ears else [], [Tap(*watchers)])


def make_directories(options: TapOptions) -> None:
    """Make the directories that the options name, before the first call needs them.

    Raises:
        DirectoryUnusable: when one cannot be made or written to.
    """
    for directory in (options.record, options.transcripts):
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                with NamedTemporaryFile(dir=directory):
                    pass
            except OSError as error:
                raise DirectoryUnusable(f"Cannot write to {directory}: {error.strerror}.") from error


def _recording(path: Path) -> Recording | None:
    try:
        return Recording(path)
    except OSError as error:
        logger.error("This call is not recorded: {}", error)
        return None
