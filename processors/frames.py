"""The frames that pipecat has no word for: µ-law audio, marks that tell when it was played, measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipecat.frames.frames import DataFrame, OutputAudioRawFrame, SystemFrame

from moshi_phone.audio import g711


@dataclass
class _Decoding:
    """Decodes a frame's µ-law once for all stages that look at it."""

    _decoded: tuple[bytes, bytes] = field(default=(b"", b""), init=False, repr=False, compare=False)

    @property
    def pcm(self) -> bytes:
        """The frame's audio as 16-bit PCM, 8 kHz mono."""
        mulaw: bytes = self.mulaw  # type: ignore[attr-defined] # of the frame
        if self._decoded[0] is not mulaw:
            self._decoded = (mulaw, g711.decode(mulaw))
        return self._decoded[1]


@dataclass
class MulawInputFrame(_Decoding, SystemFrame):
    """The caller's audio as the phone network carries it.

    A system frame, as pipecat's ``InputAudioRawFrame`` is: no queue and no interruption holds it up.

    Attributes:
        mulaw: G.711 µ-law, 8 kHz mono, one byte a sample.
    """

    mulaw: bytes


@dataclass
class MulawOutputFrame(_Decoding, DataFrame):
    """Audio for the caller's ear, ready to be sent.

    Attributes:
        mulaw: G.711 µ-law, 8 kHz mono, one byte a sample.
        kind: the class of the frame that was encoded. Continuous speech (``SpeechOutputAudioRawFrame``)
            comes in real time and is sent at once; all other audio may come faster, and is paced.
    """

    mulaw: bytes
    kind: type[OutputAudioRawFrame] = OutputAudioRawFrame


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


@dataclass
class MeasurementFrame(SystemFrame):
    """What a stage says of itself, for taps and observers. Passes every stage, and ends at the transport."""


@dataclass
class EngineMetricsFrame(MeasurementFrame):
    """What a step of the engine took; goes before the step's speech.

    Attributes:
        delay_ms: from the caller's frame to the step.
        timings_ms: how long each of the engine's stages took, by name.
        backlog_frames: of the caller's, not answered yet.
        dropped_frames: of the caller's, never answered, in all.
        untranscribed_frames: of the caller's, answered but not listened to for words, in all.
    """

    delay_ms: float
    timings_ms: Mapping[str, float]
    backlog_frames: int
    dropped_frames: int
    untranscribed_frames: int = 0


@dataclass
class SendMetricsFrame(MeasurementFrame):
    """Says that audio was dropped because the other side took none; goes upstream from the transport.

    Attributes:
        dropped_messages: never sent, in all.
    """

    dropped_messages: int


@dataclass
class StreamLostFrame(MeasurementFrame):
    """Says that the stream broke off; goes down the pipeline. What the bot says now, nobody hears."""


@dataclass
class StreamResumedFrame(MeasurementFrame):
    """Says that another stream took the place of the one before; goes down the pipeline.

    Attributes:
        gap_ms: since the caller's last media came.
    """

    gap_ms: float


@dataclass
class PlayoutMetricsFrame(MeasurementFrame):
    """What is known of the other side's playing; goes before the audio that was let through.

    Attributes:
        lead_ms: audio that was sent and not yet played, just before this audio.
        jitter_ms: of the network, one way, as the echoes of marks show it.
        trimmed_ms: silence that was taken out, in all.
        underruns: how often the other side had nothing to play.
        underrun_ms: for how long, in all.
        round_trip_ms: of a mark and its echo, beside the audio before it; 0 while it is not known.
    """

    lead_ms: float
    jitter_ms: float
    trimmed_ms: float
    underruns: int
    underrun_ms: float
    round_trip_ms: float = 0.0
