"""The phone call, as one list of stages from the caller's mouth to the caller's ear."""

from __future__ import annotations

from pipecat.pipeline.pipeline import Pipeline

from moshi_phone.audio.formats import PHONE_RATE_HZ, SAMPLE_RATE_HZ
from pipelines.call_parts import CallParts
from processors.echo import EchoCanceller
from processors.moshi import MoshiProcessor
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.playout import PlayoutGovernor
from processors.resampler import Resampler


def phone_call(parts: CallParts) -> Pipeline:
    """Assemble the call."""
    return Pipeline(
        [
            parts.transport.input(),  # Twilio's JSON → µ-law, 80 ms a frame
            *parts.inbound_taps,
            MulawDecoder(),  # → 16-bit PCM, 8 kHz
            EchoCanceller(parts.echo),  # removes the bot's own voice, if the phone returns it
            *parts.cleaners,  # noise suppression and gain, if enabled
            Resampler(PHONE_RATE_HZ, SAMPLE_RATE_HZ),  # → 24 kHz
            # answers each 80 ms with 80 ms of speech, and its words
            MoshiProcessor(parts.session, hang_secs=parts.hang_secs),
            Resampler(SAMPLE_RATE_HZ, PHONE_RATE_HZ),  # → 8 kHz
            PlayoutGovernor(parts.playout_lead_ms),  # trims pauses to drain delay added by stalls
            MulawEncoder(),  # → µ-law
            *parts.taps,
            parts.transport.output(),  # → Twilio's JSON
        ]
    )
