"""``--calls auto``: the number of calls that the start measures for this machine."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi import measure_calls, memory, runtime
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.moshi.memory import calls_that_fit, model_need, program_need
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.options import AUTO_CALLS, EngineOptions
from moshi_phone.vendor.moshi_mlx.models.lm import config_v0_1
from tests.support.tiny_moshi import tiny_lm

GB = 1_000_000_000


@pytest.mark.slow
def test_the_number_is_bounded_by_steps_codecs_and_memory(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "calls_that_fit", lambda *_: 2)
    monkeypatch.setattr(runtime, "measure_codec_ms", lambda _: 0.1)
    engine = MoshiEngine(EngineOptions(model=str(tiny_checkpoint), calls=AUTO_CALLS, greeting="none", seed=1))
    lines: list[str] = []

    async def start() -> None:
        try:
            await engine.start(lines.append)
            sessions = [engine.open_session() for _ in range(engine.capacity)]
            await asyncio.gather(*(session.close() for session in sessions))
        finally:
            await engine.stop()

    asyncio.run(start())
    [said] = [line for line in lines if line.startswith("--calls auto: ")]
    found = re.fullmatch(r"--calls auto: Holds about (\d) calls? at once: (.*)\.", said)
    assert found
    limits = {name: int(calls) for name, calls in (part.split() for part in found[2].split(", "))}
    assert limits.keys() == {"steps", "memory", "codecs"}
    assert limits["memory"] == 2  # a slow machine's steps may allow one call only
    assert engine.capacity == int(found[1]) == min(limits.values())
    assert lines[-1].startswith("Moshi is ready")


def test_measuring_stops_at_the_first_batch_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_lm(dim=64, layers=2, text_card=100, card=64, codebooks=2)
    measured = measure_calls.measure_steps(model, MoshiSampling(), 3, lambda _: None)
    assert set(measured) == {1, 2, 3}
    monkeypatch.setattr(measure_calls, "BUSY_SHARE", 0.0)
    assert set(measure_calls.measure_steps(model, MoshiSampling(), 3, lambda _: None)) == {1}


def test_a_codec_is_measured(mimi_file: Path) -> None:
    assert measure_calls.measure_codec_ms(mimi_file) > 0


def test_the_number_agrees_with_the_memory_check(monkeypatch: pytest.MonkeyPatch) -> None:
    config, packing = config_v0_1(), QUANTIZATIONS[4]

    def need_bytes(calls: int) -> int:
        need = model_need(config, packing, calls) + program_need(calls, listening=False)
        return need.accelerator_bytes + need.main_bytes

    monkeypatch.setattr(memory, "_machine", lambda: (need_bytes(3), None))
    assert calls_that_fit(config, packing) == 3
    monkeypatch.setattr(memory, "_machine", lambda: (need_bytes(3) - 1, None))
    assert calls_that_fit(config, packing) == 2
    monkeypatch.setattr(memory, "_machine", lambda: (GB, None))
    assert calls_that_fit(config, packing) == 0


def test_the_listening_model_is_not_measured(tiny_checkpoint: Path) -> None:
    engine = MoshiEngine(EngineOptions(model=str(tiny_checkpoint), calls=AUTO_CALLS, listen=True))
    with pytest.raises(EngineUnavailable, match="give --calls a number"):
        asyncio.run(engine.start(lambda _: None))
