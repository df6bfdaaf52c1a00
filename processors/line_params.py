"""pipecat's ``TransportParams``, restricted to what a phone call has."""

from __future__ import annotations

from typing import Any

from loguru import logger
from pipecat.transports.base_transport import TransportParams

from moshi_phone.audio.formats import PHONE_RATE_HZ
from processors.guarded_audio import guard_audio

WRITE_SECS = 10.0  # beyond a chunk's own length: the output never waits for the peer

# Of every phone call: 8 kHz, mono, both ways, from beginning to end, and audio only.
_FIXED: dict[str, Any] = {
    "audio_in_enabled": True,
    "audio_in_sample_rate": PHONE_RATE_HZ,
    "audio_in_channels": 1,
    "audio_in_stream_on_start": True,
    "audio_in_passthrough": True,
    "audio_out_enabled": True,
    "audio_out_sample_rate": PHONE_RATE_HZ,
    "audio_out_channels": 1,
    "audio_out_bitrate": 64_000,
    "audio_out_destinations": [],
    "audio_out_end_silence_secs": 0,
    "video_in_enabled": False,
    "video_in_sources": {},
    "video_out_enabled": False,
    "video_out_is_live": False,
    "video_out_destinations": [],
}


def line_params(given: TransportParams) -> TransportParams:
    """Return the parameters of a phone call, with the given filters, mixer, volume and chunks.

    Others that were given have no effect, and the log names them. A filter or mixer that fails is logged, and
    passes the audio.
    """
    if without_effect := sorted(name for name in given.model_fields_set if _is_without_effect(given, name)):
        logger.warning(
            "These TransportParams have no effect on a phone call, which is 8 kHz, mono, audio only, in both "
            "directions: {}",
            ", ".join(without_effect),
        )
    chunk_s = given.audio_out_10ms_chunks / 100
    fixed = {**_FIXED, "audio_out_write_timeout_secs": WRITE_SECS + chunk_s}
    return guard_audio(given).model_copy(update=fixed)


def _is_without_effect(given: TransportParams, name: str) -> bool:
    if name in _FIXED:
        return bool(getattr(given, name) != _FIXED[name])
    # The rest of video_…, and parameters of another transport's own class.
    return name.startswith(("video_", "audio_out_write_")) or name not in TransportParams.model_fields
