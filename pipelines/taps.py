"""The taps of a call: which stages watch it, by what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipecat.processors.frame_processor import FrameProcessor

from moshi_phone.records.call_audio import AudioSink, CallAudio
from moshi_phone.records.call_metrics import CallObservations
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.options import TapOptions
from moshi_phone.records.recording import Recording
from moshi_phone.records.redaction import redact_digits
from moshi_phone.records.transcript import Transcript
from moshi_phone.records.transcript_file import JSON_LINES, NO_HEADING, TEXT, Heading, TranscriptFile
from processors.meter import Meter
from processors.recorder import Recorder
from processors.repetition_watch import RepetitionWatch
from processors.tap import FrameMonitor, Tap
from processors.transcript import Transcriber


@dataclass
class Taps:
    """The stages for ``phone_call``.

    Attributes:
        inbound_taps: for the caller's end of the line.
        taps: for the bot's.
    """

    inbound_taps: list[FrameProcessor] = field(default_factory=list[FrameProcessor])
    taps: list[FrameProcessor] = field(default_factory=list[FrameProcessor])


def make_taps(
    options: TapOptions,
    name: str,
    observations: CallObservations,
    files: FileWriter,
    heading: Heading = NO_HEADING,
    *,
    watches: Sequence[FrameMonitor] = (),
    sinks: Sequence[AudioSink] = (),
) -> Taps:
    """Make the taps of a call. A file that cannot be made is logged, and the call goes on without it.

    Args:
        options: what to keep.
        name: of the call's files, without their ending.
        observations: is filled; its ``conversation``, where there is one, gets both voices.
        files: writes the call's files.
        heading: what its transcript's files begin with.
        watches: what looks out for keys and phrases.
        sinks: take both voices, too.
    """
    inbound_taps: list[FrameMonitor] = []
    monitors: list[FrameMonitor] = [*watches]
    if options.meter:
        monitors += [Meter(observations.metrics), RepetitionWatch(observations.metrics.conversation)]
    transcripts = []
    if options.transcripts:  # the words are kept in memory all the same, for the page and --on-end
        path = options.transcripts / name
        transcripts = [TranscriptFile(path, form, files, heading) for form in (TEXT, JSON_LINES)]
        observations.kept["transcript"] = transcripts[0]
    redact = redact_digits if options.redact == "digits" else str
    observations.transcript = Transcript(transcripts, redact, observations.consent)
    monitors.append(Transcriber(observations.transcript))
    # All sinks share one CallAudio, so that they agree on when each side spoke.
    audio_sinks = [*sinks]
    if options.record:
        recording = Recording(options.record / f"{name}.wav", files, consent=observations.consent)
        observations.kept["recording"] = recording
        audio_sinks.append(recording)
    if observations.conversation is not None:
        audio_sinks.append(observations.conversation)
    if audio_sinks:
        audio = CallAudio(audio_sinks)  # one time line for all that look at both voices
        inbound_taps.append(Recorder(audio))
        monitors.append(Recorder(audio))
    return Taps([Tap(*inbound_taps)] if inbound_taps else [], [Tap(*monitors)])
