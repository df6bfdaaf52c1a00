"""Arguments of the function that assembles a call's pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loguru import logger
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.silence_trimmer import DEFAULT_LEAD_MS
from moshi_phone.engines.duplex import HANG_SECS, DuplexSession
from pipelines.call_worker import CallWorker
from processors.echo import EchoPath
from processors.guarded_audio import guard_audio
from processors.twilio import TwilioTransport

CANCEL_SECS = 2.0  # time for pipecat's stages to end, before they are abandoned

# Parameters of any transport for a pipeline function to choose.
CONFIGURABLE = {"audio_in_filter", "audio_out_filter", "audio_out_mixer", "audio_out_volume"}

Transfer = Callable[[str], bool]
"""Starts a transfer to ``--transfer-to``, given the reason for the log; returns False if impossible."""


def _no_transfer(_: str) -> bool:
    return False


@dataclass(frozen=True)
class CallParts:
    """Arguments of the function that assembles a call's pipeline, such as ``phone_call``.

    A pipeline function takes this object and returns a ``Pipeline``, or a ``PipelineWorker`` made by
    ``worker``. It uses the parts that it needs; without the taps, calls are neither measured nor recorded.

    Attributes:
        transport: the caller's side. The phone's has µ-law frames at both ends, pipecat's have 16-bit PCM.
        session: the engine's session of this call.
        inbound_taps: stages that observe the caller's incoming audio.
        taps: stages that observe; they come last, where they see the audio as sent.
        playout_lead_ms: audio that may wait in Twilio's buffer before pauses are trimmed.
        hang_secs: how long the session may owe an answer before the call is ended.
        transfer: starts a transfer.
        options: values of ``--pipeline-option KEY=VALUE``, for the function.
        rate_hz: sample rate at the transport's ends.
        echo: the call's echo, for an ``EchoCanceller``.
        cleaners: stages of ``--noise-suppression`` and ``--automatic-gain``, which belong behind the
            canceller.
        rtvi: whether the peer is a pipecat client that speaks RTVI.
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

    def configure(self, params: TransportParams) -> None:
        """Give the transport audio filters, a mixer and a volume, before its ends are used.

        A filter or mixer that fails is logged, and passes the audio. A transport without parameters, such as
        ``FakeTransport``, ignores them.

        Args:
            params: the log names those that have no effect.
        """
        if isinstance(self.transport, TwilioTransport):
            self.transport.configure(params)
            return
        guarded, ignored = guard_audio(params), set[str]()
        for end in (self.transport.input(), self.transport.output()):
            if isinstance(end, (BaseInputTransport, BaseOutputTransport)):
                own = end._params  # read when the pipeline starts, by all of pipecat's transports
                given = {name: getattr(guarded, name) for name in params.model_fields_set}
                ignored |= {name for name in given.keys() - CONFIGURABLE if given[name] != getattr(own, name)}
                for name in given.keys() & CONFIGURABLE:
                    setattr(own, name, given[name])
        if ignored:
            logger.warning(
                "These TransportParams are fixed on this transport: {}", ", ".join(sorted(ignored))
            )

    def worker(self, pipeline: Pipeline, **options: Any) -> PipelineWorker:
        """Create the worker that runs this call's pipeline.

        Args:
            pipeline: of this call.
            options: of ``PipelineWorker``, such as ``observers=[…]``, ``enable_tracing=True``,
                ``enable_turn_tracking=True``, ``params=PipelineParams(enable_metrics=True)``; each replaces
                the call's own. Rates absent from ``params`` are the transport's.
        """
        given = options.pop("params", None) or PipelineParams()
        rates = {
            name: self.rate_hz
            for name in ("audio_in_sample_rate", "audio_out_sample_rate")
            if name not in given.model_fields_set
        }
        defaults = {
            # A call ends by its own rules, not after 300 s without speech.
            "idle_timeout_secs": None,
            "cancel_timeout_secs": CANCEL_SECS,
            # pipecat's own observers see every frame of every stage, which costs a tenth of the call.
            # Tracing needs it: its spans are the turns.
            "enable_turn_tracking": bool(options.get("enable_tracing")),
            "enable_rtvi": self.rtvi,
        }
        params = given.model_copy(update=rates)
        return CallWorker(pipeline, self.transport, params=params, **{**defaults, **options})
