"""What a call hands to the function that assembles its pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_transport import BaseTransport

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.silence_trimmer import DEFAULT_LEAD_MS
from moshi_phone.engines.duplex import HANG_SECS, DuplexSession
from processors.echo import EchoPath

CANCEL_SECS = 2.0  # what pipecat gives its stages to end, before it ends without them

Transfer = Callable[[str], bool]
"""Begins to transfer the caller to ``--transfer-to``, given the reason for the log; False where it cannot."""


def _no_transfer(_: str) -> bool:
    return False


@dataclass(frozen=True)
class CallParts:
    """What a call hands to the function that assembles its pipeline, such as ``phone_call``.

    A pipeline function takes one of these and returns a ``Pipeline``, or a ``PipelineWorker`` that it makes
    with ``worker``. It uses what it needs: without the taps, calls are neither measured nor recorded.

    Attributes:
        transport: the caller's side. The phone's has µ-law frames at both ends, pipecat's have 16-bit PCM.
        session: the engine's side of this call.
        inbound_taps: stages that observe the caller's audio as it arrives, and change nothing.
        taps: stages that observe and change nothing; they come last, where they see what is sent.
        playout_lead_ms: how much audio may wait in Twilio's buffer before pauses are trimmed.
        hang_secs: how long the session may owe an answer before the call is ended.
        transfer: begins a transfer.
        options: what ``--pipeline-option KEY=VALUE`` says, for the function to read.
        rate_hz: of the audio at the transport's ends.
        echo: the call's echo; an ``EchoCanceller`` cleans by it.
        cleaners: stages that ``--noise-suppression`` and ``--automatic-gain`` ask for, behind the canceller.
        rtvi: whether the other side is a client of pipecat's that speaks RTVI.
    """

    transport: BaseTransport
    session: DuplexSession
    inbound_taps: Sequence[FrameProcessor] = ()
    taps: Sequence[FrameProcessor] = ()
    playout_lead_ms: float = DEFAULT_LEAD_MS
    hang_secs: float = HANG_SECS
    transfer: Transfer = _no_transfer
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    rate_hz: int = PHONE_RATE_HZ
    echo: EchoPath = field(default_factory=EchoPath)
    cleaners: Sequence[FrameProcessor] = ()
    rtvi: bool = False

    def worker(self, pipeline: Pipeline, **options: Any) -> PipelineWorker:
        """Make what runs the pipeline of this call.

        Args:
            pipeline: of this call.
            options: of ``PipelineWorker``, such as ``observers=[…]``, ``enable_tracing=True``,
                ``enable_turn_tracking=True``, ``params=PipelineParams(enable_metrics=True)``; each takes the
                place of the call's own. Rates that ``params`` leaves out are the transport's.
        """
        given = options.pop("params", None) or PipelineParams()
        rates = {
            name: self.rate_hz
            for name in ("audio_in_sample_rate", "audio_out_sample_rate")
            if name not in given.model_fields_set
        }
        defaults = {
            # A call ends by its own rules, and not because neither side has spoken for 300 s.
            "idle_timeout_secs": None,
            "cancel_timeout_secs": CANCEL_SECS,
            # pipecat's own observers look at every frame of every stage, which costs a tenth of the call.
            "enable_turn_tracking": False,
            "enable_rtvi": self.rtvi,
        }
        return PipelineWorker(pipeline, params=given.model_copy(update=rates), **{**defaults, **options})
