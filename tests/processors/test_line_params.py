from __future__ import annotations

from typing import Any

import pytest
from pipecat.transports.base_transport import TransportParams, VideoInSourceParams
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams

from processors.line_params import line_params
from tests.support.logs import Logged


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (TransportParams(), ""),
        (TransportParams(audio_in_enabled=True, audio_out_enabled=True, audio_out_sample_rate=8_000), ""),
        (TransportParams(audio_out_volume=0.5, audio_out_10ms_chunks=2), ""),
        # all of these were ignored in silence
        (TransportParams(audio_in_passthrough=False), "audio_in_passthrough"),
        (TransportParams(audio_out_sample_rate=24_000), "audio_out_sample_rate"),
        (TransportParams(audio_out_channels=2, audio_in_channels=2), "audio_in_channels, audio_out_channels"),
        (TransportParams(audio_out_destinations=["another"]), "audio_out_destinations"),
        (TransportParams(audio_out_end_silence_secs=1), "audio_out_end_silence_secs"),
        (TransportParams(audio_out_write_timeout_secs=0.03), "audio_out_write_timeout_secs"),
        (TransportParams(video_out_enabled=True, video_out_width=8), "video_out_enabled, video_out_width"),
        (
            TransportParams(video_in_enabled=True, video_in_sources={"camera": VideoInSourceParams()}),
            "video_in_enabled, video_in_sources",
        ),
        (FastAPIWebsocketParams(session_timeout=5), "session_timeout"),
    ],
)
def test_parameters_without_effect_are_logged(given: Any, named: str, logged: Logged) -> None:
    params = line_params(given)
    assert ("in both directions: " in logged.text) is bool(named)
    assert f"in both directions: {named}\n" in logged.text or not named
    line = (params.audio_in_sample_rate, params.audio_out_sample_rate, params.audio_out_channels)
    assert line == (8_000, 8_000, 1)
    assert params.audio_in_enabled
    assert params.audio_out_enabled
    assert not params.video_out_enabled
    assert (params.audio_out_volume, params.audio_out_10ms_chunks) == (
        given.audio_out_volume,
        given.audio_out_10ms_chunks,
    )


def test_a_long_chunk_is_no_stuck_peer() -> None:
    """pipecat limits a write, and a paced write lasts as long as its chunk: that ended the call."""
    params = line_params(TransportParams(audio_out_10ms_chunks=1_200))
    assert params.audio_out_write_timeout_secs > 12
