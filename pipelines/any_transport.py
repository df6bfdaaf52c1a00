"""The same call on any pipecat transport: 16-bit PCM at the transport's rate instead of µ-law."""

from __future__ import annotations

from pipecat.pipeline.pipeline import Pipeline

from moshi_phone.audio.formats import SAMPLE_RATE_HZ
from pipelines.call_parts import CallParts
from processors.clip_priority import ClipPriority
from processors.echo import EchoCanceller
from processors.moshi import MoshiProcessor
from processors.playout import PlayoutGovernor
from processors.resampler import Resampler


def any_transport(parts: CallParts) -> Pipeline:
    """Assemble the call; nothing is resampled if the transport has 24 kHz."""
    other_rate = parts.rate_hz != SAMPLE_RATE_HZ
    return Pipeline(
        [
            parts.transport.input(),  # → 16-bit PCM
            *parts.inbound_taps,
            EchoCanceller(parts.echo),  # browsers cancel echo themselves, other clients may not
            *parts.cleaners,  # noise suppression and gain, if enabled
            *([Resampler(parts.rate_hz, SAMPLE_RATE_HZ)] if other_rate else []),  # → 24 kHz
            MoshiProcessor(parts.session, hang_secs=parts.hang_secs),
            *([Resampler(SAMPLE_RATE_HZ, parts.rate_hz)] if other_rate else []),
            PlayoutGovernor(parts.playout_lead_ms),
            ClipPriority(),  # a clip is played in place of speech: behind it, speech would be late
            *parts.taps,
            parts.transport.output(),
        ]
    )
