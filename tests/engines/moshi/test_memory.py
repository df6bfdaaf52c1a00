"""The estimated memory of Moshi, and the figures in docs/moshi.md."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import mlx.core as mx
import pytest

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi import memory
from moshi_phone.engines.moshi.codec.call_codecs import CallCodecs
from moshi_phone.engines.moshi.load_model import Files
from moshi_phone.engines.moshi.memory import (
    CACHE_LIMIT_BYTES,
    MemoryNeed,
    limit_cache,
    model_need,
    program_need,
    weigh,
)
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, quantization_named
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.runtime import Loader
from moshi_phone.engines.options import EngineOptions
from moshi_phone.vendor.moshi_mlx.models.lm import config_v0_1
from tests.support.logs import Logged

GB = 1_000_000_000


def need(calls: int) -> float:
    whole = model_need(config_v0_1(), QUANTIZATIONS[4], calls) + program_need(calls, listening=False)
    return (whole.accelerator_bytes + whole.main_bytes) / GB


def test_the_estimate_agrees_with_the_docs() -> None:
    assert need(1) == pytest.approx(8.5, abs=0.1)
    assert (need(9) - need(1)) / 8 == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize(("packing", "weights_gb"), [("4", 4.8), ("4-8", 5.1), ("8", 8.2), ("none", 15.4)])
def test_the_weights_agree_with_the_help(packing: str, weights_gb: float) -> None:
    weights_bytes = model_need(config_v0_1(), quantization_named(packing), 0).accelerator_bytes
    assert weights_bytes / GB == pytest.approx(weights_gb, abs=0.05)
    assert f"{weights_gb} GB" in EngineOptions.__dataclass_fields__["quantize"].metadata["help"]


def test_listening_needs_a_spare_codec_for_each_direction() -> None:
    more = program_need(1, listening=True).main_bytes - program_need(1, listening=False).main_bytes
    assert more == pytest.approx(0.6 * GB, rel=0.1)


@pytest.mark.parametrize(
    ("machine_gb", "card_gb", "fits", "text"),
    [
        (16, None, True, "8.0 of the machine's 16.0 GB"),
        (8, None, True, "8.0 of the machine's 8.0 GB"),
        (7, None, False, "8.0 of the machine's 7.0 GB"),
        (4, 24, True, "6.0 of the GPU's 24.0 GB, and 2.0 of the machine's 4.0 GB"),
        (1, 24, False, "6.0 of the GPU's 24.0 GB, and 2.0 of the machine's 1.0 GB"),
        (64, 4, False, "6.0 of the GPU's 4.0 GB, and 2.0 of the machine's 64.0 GB"),
    ],
)
def test_the_estimate_is_compared_with_the_machine(
    machine_gb: int, card_gb: int | None, fits: bool, text: str
) -> None:
    verdict = weigh(MemoryNeed(6 * GB, 2 * GB), machine_gb * GB, None if card_gb is None else card_gb * GB)
    assert (verdict.fits, verdict.text) == (fits, text)


def test_mlx_s_cache_is_limited_and_a_lower_limit_is_kept() -> None:
    before_bytes = mx.set_cache_limit(8 * GB)
    try:
        limit_cache()
        assert mx.set_cache_limit(1000) == CACHE_LIMIT_BYTES
        limit_cache()
        assert mx.set_cache_limit(before_bytes) == 1000
    finally:
        mx.set_cache_limit(before_bytes)


@pytest.mark.parametrize("listen", [False, True])
async def test_the_estimate_is_logged_before_anything_is_loaded(
    hollow_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged, listen: bool
) -> None:
    def load(*_: object, **__: object) -> CallCodecs:
        raise EngineUnavailable("loaded")

    monkeypatch.setattr(CallCodecs, "for_calls", load)
    monkeypatch.setattr(memory, "_machine", lambda: (GB, None))
    options = EngineOptions(model=str(hollow_checkpoint), quantize="4", listen=listen)
    loader = Loader(options, MoshiSampling(), 3.0, lambda: False, threading.Event(), Files())
    lines: list[str] = []
    with pytest.raises(EngineUnavailable, match=r"^loaded$"):
        await loader.load(lines.append)
    taken = next(line for line in lines if line.startswith("Moshi takes about "))
    found = re.fullmatch(r"Moshi takes about ([0-9.]+) of the machine's 1\.0 GB\.", taken)
    assert found is not None
    assert (float(found[1]) > 3.0) is listen, "whose model is larger than this one"
    assert f"WARNING Moshi does not fit into memory: {found[1]} of the machine's 1.0 GB (use" in logged.text
