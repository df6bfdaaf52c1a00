"""PersonaPlex from a folder and from the hub: converted once, found afterwards, and its licence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import mlx.core as mx
import pytest

from moshi_phone.commands.random_model import write_tiny_tokenizer
from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi import find_files as weights
from moshi_phone.engines.moshi.checkpoint.checkpoint import MIMI_NAME, TOKENIZER_NAME, Checkpoint
from moshi_phone.engines.moshi.checkpoint.tensor_shapes import read_shapes
from moshi_phone.engines.moshi.load_model import Files
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, Quantization, quantization_named
from moshi_phone.engines.options import EngineOptions
from tests.engines.moshi.files import use_endpoint, write_hollow_mimi
from tests.fakes.hub import COMMIT, FakeHub
from tests.support.tiny_personaplex import write_personaplex

PARTS = ("weight", "scales", "biases")
REPO = "nvidia/personaplex-tiny"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NVIDIA's repo with small sizes, and a Mimi of zeros."""
    folder = write_personaplex(tmp_path_factory.mktemp("repo") / "nvidia", dtype="BF16", dim=256)
    write_hollow_mimi(folder / MIMI_NAME)
    write_tiny_tokenizer(folder / TOKENIZER_NAME, 100)
    return folder


@pytest.fixture
def folder(repo: Path, tmp_path: Path) -> Path:
    """A separate copy for each test."""
    return Path(shutil.copytree(repo, tmp_path / "nvidia"))


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub(REPO, folder) as hub:
        use_endpoint(hub.url, monkeypatch)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
        yield hub


def find(model: Path | str, lines: list[str] | None = None) -> Checkpoint:
    return weights.find(EngineOptions(model=str(model)), (lines if lines is not None else []).append)


def test_a_folder_is_converted_once(folder: Path) -> None:
    lines: list[str] = []
    found = find(folder, lines)
    assert found.weights == folder / "model.q8.safetensors"
    assert found.quantization == QUANTIZATIONS[8]  # the fewest bits that are reported to be sound
    assert found.takes_persona
    assert any(line.startswith("Converting model.safetensors to 0.0 GB") for line in lines)
    Files().load(found, lambda _: None)
    lines.clear()
    (folder / "model.safetensors").unlink()  # 16.7 GB, no longer needed
    assert find(folder, lines) == found
    assert lines == [f"Moshi's weights come from {folder}."]


def test_the_depformer_may_have_8_bits(folder: Path) -> None:
    options = EngineOptions(model=str(folder), quantize="4-8")
    found = weights.find(options, lambda _: None)
    assert found.weights == folder / "model.q4-8.safetensors"
    assert found.quantization == quantization_named("4-8") == Quantization(4, 32, Quantization(8, 64))
    model = Files().load(found, lambda _: None)
    assert (model.text_linear.bits, model.depformer.slices[0].linear_in.bits) == (4, 8)
    in_4_bits = weights.find(replace(options, quantize="4"), lambda _: None)
    assert in_4_bits.quantization == QUANTIZATIONS[4]
    mixed, packed = (mx.load(str(one.weights)) for one in (found, in_4_bits))
    assert isinstance(mixed, dict)
    assert isinstance(packed, dict)
    changed = {name for name in mixed if mixed[name].shape != packed[name].shape}
    assert changed
    assert all(name.startswith("depformer.") for name in changed)
    weight, scales, biases = (mixed[f"depformer.slices.0.linear_in.{part}"] for part in PARTS)
    value = mx.dequantize(weight, scales, biases, 64, 8)
    source = mx.load(str(folder / "model.safetensors"))
    assert isinstance(source, dict)
    assert mx.allclose(value, source["depformer_in.0.weight"], atol=0.02)


def test_a_changed_source_is_converted_again(folder: Path) -> None:
    find(folder)
    write_personaplex(folder, seed=1, dtype="BF16", dim=256)
    os.utime(folder / "model.q8.safetensors", (0, 0))
    lines: list[str] = []
    find(folder, lines)
    assert lines[-1].startswith("Converted: ")


def test_a_config_without_sizes_is_moshi_s(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    with pytest.raises(EngineUnavailable) as caught:
        find(folder)
    assert "linear_in.weight: expected [22528, 4096], got [1408, 256]" in str(caught.value)


@pytest.mark.slow
def test_from_the_hub_it_is_converted_beside_the_hub_s_cache(
    hub: FakeHub, tmp_path: Path, folder: Path
) -> None:
    assert weights.cached(EngineOptions(model=REPO), lambda _: None) is None
    found = find(REPO)
    place = tmp_path / "home" / "moshi-phone" / "nvidia--personaplex-tiny" / COMMIT
    assert found.weights == place / "model.q8.safetensors"
    assert found.takes_persona
    assert {file for _, file, _ in hub.requests} == {
        *("config.json", "model.safetensors"),
        *(MIMI_NAME, TOKENIZER_NAME),
    }
    hub.requests.clear()
    assert find(REPO) == found
    assert weights.cached(EngineOptions(model=REPO), lambda _: None) == found
    assert hub.requests == []
    os.truncate(found.weights, 1000)  # whatever did that: it is ours, and is made again
    assert find(REPO) == found
    assert len(read_shapes(found.weights)) > 300


def test_the_error_explains_how_to_accept_the_licence(hub: FakeHub) -> None:
    hub.gated = True
    with pytest.raises(EngineUnavailable) as caught:
        find(REPO)
    assert str(caught.value) == (
        f"The hub gives {REPO} only to those who have accepted its licence: accept it on "
        f"https://huggingface.co/{REPO}, then set HF_TOKEN to your token (or run 'hf auth login')."
    )
