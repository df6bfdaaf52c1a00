"""Stopping a whole engine, during its start and during a call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from moshi_phone.engines.duplex import EngineBusy
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.moshi.model.language_model import LanguageSession, LanguageStep
from moshi_phone.engines.options import EngineOptions
from tests.engines.moshi.engine_calls import WAIT_S, talk


@pytest.mark.slow
async def test_stopping_interrupts_a_greeting_between_two_frames(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on SIGTERM: the start is cancelled, then the engine is stopped."""
    steps, first = list[int](), asyncio.Event()
    loop, step = asyncio.get_running_loop(), LanguageSession.step

    def counted(self: LanguageSession, *args: Any, **named: Any) -> LanguageStep:
        steps.append(1)
        loop.call_soon_threadsafe(first.set)
        return step(self, *args, **named)

    monkeypatch.setattr(LanguageSession, "step", counted)
    options = EngineOptions(model=str(tiny_checkpoint), greeting_frames=250)
    engine = MoshiEngine(options, codec_limit_frames=5000)
    starting = asyncio.create_task(engine.start(lambda _: None))
    await asyncio.wait_for(first.wait(), WAIT_S)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert engine._loaded is not None
    thread = engine._loaded.thread
    await engine.stop()
    assert thread._resting.is_set(), "it must rest, or mlx aborts the program at its end"
    assert len(steps) < 50, "a take has 250"


@pytest.mark.slow
async def test_stopping_closes_open_sessions(tiny_checkpoint: Path) -> None:
    options = EngineOptions(model=str(tiny_checkpoint), greeting="none")
    engine = MoshiEngine(options, codec_limit_frames=500)
    await engine.start(lambda _: None)
    session = engine.open_session()
    assert len(await talk(session, range(1))) == 1
    await engine.stop()
    assert engine.running == 0
    assert engine.error == "Moshi has been stopped."
    with pytest.raises(EngineBusy, match="has been stopped"):
        engine.open_session()
    await engine.stop()
