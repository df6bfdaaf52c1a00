"""Frames that pipecat lacks: µ-law audio, marks that report its playback, measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipecat.frames.frames import DataFrame, OutputAudioRawFrame, SystemFrame

from moshi_phone.audio import g711


@dataclass
class _Decoding:
    """Decodes a frame's µ-law, and measures its power, once for all stages that read it."""

    # the µ-law and its PCM, or its power
    _decoded: tuple[bytes, bytes] = field(default=(b"", b""), init=False, repr=False, compare=False)
    _measured: tuple[bytes, float] = field(default=(b"", 0.0), init=False, repr=False, compare=False)

    @property
    def pcm(self) -> bytes:
        """The audio as 16-bit PCM, 8 kHz mono."""
        mulaw: bytes = self.mulaw  # type: ignore[attr-defined] # of the frame
        if self._decoded[0] is not mulaw:  # identity: a stage may have replaced the audio
            self._decoded = (mulaw, g711.decode(mulaw))
        return self._decoded[1]

    @property
    def power(self) -> float:
        """Mean square of the samples; full scale is 1."""
        mulaw: bytes = self.mulaw  # type: ignore[attr-defined] # of the frame
        if self._measured[0] is not mulaw:
            self._measured = (mulaw, g711.power(mulaw))
        return self._measured[1]


@dataclass
class MulawInputFrame(_Decoding, SystemFrame):
    """The caller's audio as sent by the phone network.

    A system frame, like pipecat's ``InputAudioRawFrame``: neither a queue nor an interruption delays it.

    Attributes:
        mulaw: G.711 µ-law, 8 kHz mono, one byte a sample.
    """

    mulaw: bytes


@dataclass
class MulawOutputFrame(_Decoding, DataFrame):
    """Audio for the caller, ready to be sent.

    Attributes:
        mulaw: G.711 µ-law, 8 kHz mono, one byte a sample.
        kind: class of the encoded frame. Continuous speech (``SpeechOutputAudioRawFrame``) comes in real time
            and is sent at once; other audio may come faster, and is paced.
    """

    mulaw: bytes
    kind: type[OutputAudioRawFrame] = OutputAudioRawFrame


@dataclass
class MarkOutputFrame(DataFrame):
    """Requests a report when the audio before it has been played.

    Attributes:
        mark: label, returned in the report.
    """

    mark: str


@dataclass
class MarkInputFrame(SystemFrame):
    """The return of a mark: the audio before it has been played (or cleared).

    Attributes:
        mark: the label that was sent.
    """

    mark: str


@dataclass
class MeasurementFrame(SystemFrame):
    """Measurements of a stage, for taps and observers. Passes every stage, and ends at the transport."""


@dataclass
class EngineMetricsFrame(MeasurementFrame):
    """Times and counts of one step of the engine; precedes the step's speech.

    Attributes:
        delay_ms: from the end of the caller's frame to the step.
        timings_ms: duration of each of the engine's stages, by name.
        backlog_frames: the caller's unanswered frames.
        dropped_frames: total of the caller's frames never answered.
        untranscribed_frames: total of the caller's frames answered but not transcribed.
        filters_ms: constant delay of the session's codec, and of this stage's own resampler, both ways.
    """

    delay_ms: float
    timings_ms: Mapping[str, float]
    backlog_frames: int
    dropped_frames: int
    untranscribed_frames: int = 0
    filters_ms: float = 0.0


@dataclass
class FilterDelayFrame(MeasurementFrame):
    """Reports the constant delay of a filter, once, before its first audio.

    Attributes:
        delay_ms: by how much its output is later than its input.
    """

    delay_ms: float


@dataclass
class SendMetricsFrame(MeasurementFrame):
    """Reports audio dropped because the peer does not read; pushed upstream from the transport.

    Attributes:
        dropped_messages: total of messages never sent.
    """

    dropped_messages: int


@dataclass
class StreamLostFrame(MeasurementFrame):
    """Reports that the stream broke off; pushed downstream. The caller does not hear the bot from then on."""


@dataclass
class StreamResumedFrame(MeasurementFrame):
    """Reports that another stream has replaced the broken one; pushed downstream.

    Attributes:
        gap_ms: time since the caller's last media.
    """

    gap_ms: float


@dataclass
class PlayoutMetricsFrame(MeasurementFrame):
    """State of the peer's playout; precedes the audio that was let through.

    Attributes:
        lead_ms: audio sent but not yet played, just before this audio.
        jitter_ms: of the network, one way, measured by returned marks.
        trimmed_ms: total of silence trimmed.
        underruns: how often the peer had nothing to play.
        underrun_ms: total duration of underruns.
        round_trip_ms: of a mark, without the audio before it; 0 until known.
    """

    lead_ms: float
    jitter_ms: float
    trimmed_ms: float
    underruns: int
    underrun_ms: float
    round_trip_ms: float = 0.0
