"""The frames that pipecat has no word for: µ-law audio, and the marks that tell when it was played."""

from __future__ import annotations

from dataclasses import dataclass

from pipecat.frames.frames import DataFrame, SystemFrame


@dataclass
class MulawInputFrame(SystemFrame):
    """The caller's audio as the phone network carries it.

    A system frame, so that it passes ``transport.input()`` without its audio queue.

    Attributes:
        mulaw: G.711 µ-law, 8 kHz mono, one byte a sample.
    """

    mulaw: bytes


@dataclass
class MulawOutputFrame(DataFrame):
    """Audio for the caller's ear, ready to be sent.

    Attributes:
        mulaw: G.711 µ-law, 8 kHz mono, one byte a sample.
    """

    mulaw: bytes


@dataclass
class MarkOutputFrame(DataFrame):
    """Asks the other side to say when the audio before this has been played.

    Attributes:
        mark: a label that the echo will carry.
    """

    mark: str


@dataclass
class MarkInputFrame(SystemFrame):
    """The echo of a mark: the audio before it has been played (or cleared).

    Attributes:
        mark: the label that was sent.
    """

    mark: str
