"""The taps of a call: its observing stages, selected by the options."""

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
    """The observing stages of ``phone_call``.

    Attributes:
        inbound_taps: on the caller's side.
        taps: on the bot's side.
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
    """Create the taps of a call. If a file cannot be created, the error is logged, and the call continues.

    Args:
        options: what to record.
        name: stem of the call's file names.
        observations: filled by the taps; its ``conversation``, if any, receives both voices.
        files: writes the call's files.
        heading: heading of its transcript files.
        watches: monitors of keys and phrases.
        sinks: further receivers of both voices.
    """
    inbound_taps: list[FrameMonitor] = []
    monitors: list[FrameMonitor] = [*watches]
    if options.meter:
        monitors += [Meter(observations.metrics), RepetitionWatch(observations.metrics.conversation)]
    transcripts = []
    if options.transcripts:  # the page and --on-end use the words in memory in any case
        path = options.transcripts / name
        transcripts = [TranscriptFile(path, form, files, heading) for form in (TEXT, JSON_LINES)]
        observations.kept["transcript"] = transcripts[0]
    redact = redact_digits if options.redact == "digits" else str
    observations.transcript = Transcript(transcripts, redact, observations.consent)
    monitors.append(Transcriber(observations.transcript))
    # All sinks share one CallAudio, so that their times agree.
    audio_sinks = [*sinks]
    if options.record:
        recording = Recording(options.record / f"{name}.wav", files, consent=observations.consent)
        observations.kept["recording"] = recording
        audio_sinks.append(recording)
    if observations.conversation is not None:
        audio_sinks.append(observations.conversation)
    if audio_sinks:
        audio = CallAudio(audio_sinks)  # one time line for all receivers of both voices
        inbound_taps.append(Recorder(audio))
        monitors.append(Recorder(audio))
    return Taps([Tap(*inbound_taps)] if inbound_taps else [], [Tap(*monitors)])
