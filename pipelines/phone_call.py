"""The phone call, as one list from the caller's mouth to the caller's ear."""

from __future__ import annotations

from collections.abc import Sequence

from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_transport import BaseTransport

from moshi_phone.audio.formats import PHONE_RATE_HZ, SAMPLE_RATE_HZ
from moshi_phone.audio.silence_trimmer import DEFAULT_LEAD_MS
from moshi_phone.engines.duplex import HANG_SECS, DuplexSession
from processors.moshi import MoshiProcessor
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.playout import PlayoutGovernor
from processors.resampler import Resampler


def phone_call(
    transport: BaseTransport,
    session: DuplexSession,
    *,
    playout_lead_ms: float = DEFAULT_LEAD_MS,
    hang_secs: float = HANG_SECS,
    inbound_taps: Sequence[FrameProcessor] = (),
    taps: Sequence[FrameProcessor] = (),
) -> Pipeline:
    """Assemble the call.

    Args:
        transport: the phone company's side; it gives and takes µ-law frames.
        session: who answers.
        playout_lead_ms: how much audio may lie in Twilio's buffer before pauses are trimmed.
        hang_secs: for how long the session may owe an answer before the call is ended.
        inbound_taps: stages that watch what the caller says, as it comes, and change nothing.
        taps: stages that watch and change nothing; they stand last, where they see what is sent.
    """
    return Pipeline(
        [
            transport.input(),  # Twilio's JSON → µ-law, 80 ms a frame
            *inbound_taps,
            MulawDecoder(),  # → 16-bit PCM, 8 kHz
            Resampler(PHONE_RATE_HZ, SAMPLE_RATE_HZ),  # → 24 kHz
            MoshiProcessor(session, hang_secs=hang_secs),  # 80 ms in, 80 ms out; text on the side
            Resampler(SAMPLE_RATE_HZ, PHONE_RATE_HZ),  # → 8 kHz
            PlayoutGovernor(playout_lead_ms),  # takes out of the pauses what stalls have put in
            MulawEncoder(),  # → µ-law
            *taps,
            transport.output(),  # → Twilio's JSON
        ]
    )
