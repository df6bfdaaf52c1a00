"""Prompts that are prefilled during calls."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_SAMPLES
from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.moshi.model.ring_kv_cache import Snapshot
from moshi_phone.engines.moshi.persona.prompt_cache import PersonaPrompt
from tests.engines.moshi.persona_engine import WAIT_S, options
from tests.support.fake_timer import Laters
from tests.support.waiting import wait_until


@pytest.mark.slow
async def test_running_calls_keep_their_steps_during_a_prefill(tiny_personaplex: Path) -> None:
    """Between two slices of a prompt, every running call is answered, however slow the machine is."""
    laters = Laters()
    engine = MoshiEngine(options(tiny_personaplex), codec_limit_frames=3000, run_later=laters)
    await engine.start(lambda _: None)
    try:
        session = engine.open_session()
        engine.prepare(CallOverrides(persona="bababa " * 40))
        loaded = engine._loaded
        assert loaded is not None
        read = loaded.prompts.want(long_role(engine))
        outputs = session.outputs()
        for number in range(20):
            await asyncio.to_thread(wait_until, partial(paused_or_read, laters, number, read))
            if read.done():
                break
            assert laters.secs[number] >= 0.08, "a frame's time for the others"
            session.feed(np.zeros(FRAME_SAMPLES, np.float32))
            await asyncio.wait_for(anext(outputs), WAIT_S)
            laters.run()
        assert len(laters.secs) >= 2, "in several slices"
        assert session.dropped_frames == 0
        await session.close()
    finally:
        await engine.stop()


def paused_or_read(laters: Laters, number: int, read: Future[Snapshot]) -> bool:
    return len(laters.secs) > number or read.done()


def long_role(engine: MoshiEngine) -> PersonaPrompt:
    assert engine._loaded is not None
    role = engine._loaded.resolver.role(CallOverrides(persona="bababa " * 40))
    assert role is not None
    return role
