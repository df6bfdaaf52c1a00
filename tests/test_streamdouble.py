"""An independent client: streamdouble, a simulator of Twilio Media Streams."""

from __future__ import annotations

import numpy as np
import pytest
from streamdouble.audio import frame_ulaw
from streamdouble.chaos import Impairments
from streamdouble.session import Session, SessionConfig

from moshi_phone.audio import g711
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from tests.support.phone import serving


@pytest.mark.slow
async def test_a_call_over_a_bad_network_is_answered_to_its_end() -> None:
    """5 % of the packets are lost, which the stream shows as jumps in its timestamps; the rest jitter."""
    secs = 6
    noise = np.random.default_rng(0).normal(0, 2_000, secs * 8_000).astype("<i2")
    config = SessionConfig(impairments=Impairments(loss=0.05, jitter_ms=30), chaos_seed=7, quiet_period_s=0.3)
    line = ServerState(ParrotEngine(delay_s=0))
    async with serving(line) as address:
        frames = frame_ulaw(g711.encode(noise.tobytes()))
        result = await Session(f"ws://{address}/stream", frames, config=config).run()
    assert result.frames_dropped > 5
    assert result.violations == []
    assert result.warnings == []
    assert not result.timed_out
    assert not result.closed_early
    assert secs - 0.2 < result.audio_duration_s <= secs
    assert len(result.marks_echoed) >= secs - 1
    assert line.calls.served == 1
    assert line.engine.running == 0
