"""Conversion of PyTorch's layout to moshi_mlx's: bit-exact, in little memory, and atomic."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx import nn
from mlx.utils import tree_flatten

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi.checkpoint.convert import (
    convert,
    holds_personaplex,
    is_for_pytorch,
)
from moshi_phone.engines.moshi.checkpoint.hub import cache_folder
from moshi_phone.engines.moshi.checkpoint.tensor_shapes import OtherLayout, read_shapes
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, Quantization, build
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig
from tests.support.tiny_personaplex import personaplex_config, write_personaplex

WAIT_S = 60.0


def sizes(**config: int) -> LmConfig:
    return LmConfig.from_config_dict(personaplex_config(**config) | {"dep_q": 8})


def loaded_whole(source: Path, config: LmConfig, quantization: Quantization | None) -> dict[str, mx.array]:
    """Return what ``moshi_mlx`` makes of the file when it loads all of it and then quantizes it."""
    config.depformer.weights_per_step_schedule = list(range(16))
    model: Lm = build(config, None)
    model.load_pytorch_weights(str(source), config, strict=True)
    if quantization is not None:
        nn.quantize(  # type: ignore[attr-defined]
            model, bits=quantization.bits, group_size=quantization.group_size
        )
    return dict(tree_flatten(model.parameters()))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_personaplex(tmp_path_factory.mktemp("nvidia"), dtype="BF16", dim=256) / "model.safetensors"


@pytest.mark.parametrize("quantization", [None, QUANTIZATIONS[4], QUANTIZATIONS[8]])
def test_gives_the_same_bits_as_loading_all_of_it(
    source: Path, tmp_path: Path, quantization: Quantization | None
) -> None:
    target, lines = tmp_path / "model.safetensors", list[str]()
    convert(source, target, sizes(dim=256), quantization, lines.append)
    found, expected = mx.load(str(target)), loaded_whole(source, sizes(dim=256), quantization)
    assert isinstance(found, dict)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert mx.array_equal(found[name], array).item(), name
    assert lines[-1] == f"Converted: {target}."
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == [target.name]


@pytest.mark.cpu_bound
def test_needs_a_fraction_of_the_file_s_size_in_memory(tmp_path: Path) -> None:
    config = {"dim": 512, "layers": 8}
    source = write_personaplex(tmp_path, dtype="BF16", **config) / "model.safetensors"
    largest_bytes = max(array.nbytes for array in loaded_lazily(source).values())
    mx.clear_cache()
    before_bytes = mx.get_active_memory()
    mx.reset_peak_memory()
    convert(source, tmp_path / "packed.safetensors", sizes(**config), QUANTIZATIONS[4], lambda _: None)
    peak_bytes = mx.get_peak_memory() - before_bytes
    assert peak_bytes < 4 * largest_bytes
    assert peak_bytes < source.stat().st_size / 4


def loaded_lazily(path: Path) -> dict[str, mx.array]:
    tensors = mx.load(str(path))
    assert isinstance(tensors, dict)
    return tensors


KILLED = """
import sys, time
from pathlib import Path
from moshi_phone.engines.moshi.checkpoint import convert
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS
from tests.engines.moshi.checkpoint.test_convert import sizes

whole = convert._bytes_of
def slow(array):
    print("writing", flush=True)
    time.sleep(0.05)
    return whole(array)
convert._bytes_of = slow
convert.convert(Path(sys.argv[1]), Path(sys.argv[2]), sizes(dim=256), QUANTIZATIONS[4], lambda _: None)
"""


def test_a_killed_conversion_leaves_no_partial_file_and_restarts(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.q4.safetensors"
    process = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", KILLED, str(source), str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(20):
        assert process.stdout.readline() == "writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait(WAIT_S)
    process.stdout.close()
    assert not target.exists()
    assert (tmp_path / f"{target.name}.incomplete").stat().st_size > 0
    convert(source, target, sizes(dim=256), QUANTIZATIONS[4], lambda _: None)
    expected = loaded_whole(source, sizes(dim=256), QUANTIZATIONS[4])
    assert all(mx.array_equal(array, expected[name]).item() for name, array in loaded_lazily(target).items())
    assert not (tmp_path / f"{target.name}.incomplete").exists()


def test_an_existing_file_is_not_converted_again(source: Path, tmp_path: Path) -> None:
    target, lines = tmp_path / "model.q4.safetensors", list[str]()
    convert(source, target, sizes(dim=256), QUANTIZATIONS[4], lambda _: None)
    written = target.stat().st_mtime_ns
    convert(source, target, sizes(dim=256), QUANTIZATIONS[4], lines.append)
    assert target.stat().st_mtime_ns == written
    assert lines == []
    other = Path(shutil.copy(source, tmp_path / "model.safetensors"))  # of another date
    os.utime(other, (1, 1))
    convert(other, target, sizes(dim=256), QUANTIZATIONS[4], lines.append)
    assert lines[-1].startswith("Converted: ")


def test_a_full_disk_error_names_the_required_space(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Any) -> Any:
        return type("Usage", (), {"free": 1_000_000})

    monkeypatch.setattr("moshi_phone.engines.moshi.checkpoint.convert.shutil.disk_usage", full)
    with pytest.raises(EngineUnavailable, match=r"needs 0\.0 GB in .*, and 0\.0 GB are free; free"):
        convert(source, tmp_path / "packed", sizes(dim=256), QUANTIZATIONS[4], lambda _: None)
    assert not (tmp_path / "packed").exists()


def test_a_file_of_other_sizes_is_rejected_by_tensor(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OtherLayout, match=r"linear_in.weight: expected \[704, 128\], got \[1408, 256\]"):
        convert(source, tmp_path / "packed", sizes(dim=128), None, lambda _: None)
    with pytest.raises(OtherLayout, match=r"the tensor transformer.layers.2.* is missing"):
        convert(source, tmp_path / "packed", sizes(dim=256, layers=3), None, lambda _: None)


def test_unused_slices_are_left_out(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "packed", sizes(dim=256), None, lambda _: None)
    names = read_shapes(tmp_path / "packed")
    assert "depformer.slices.7.linear_in.weight" in names
    assert not any(name.startswith("depformer.slices.8.") for name in names)


def test_converted_files_are_stored_beside_the_hub_s_cache_by_repo_and_commit() -> None:
    folder = cache_folder("nvidia/personaplex-7b-v1", "abc")
    assert folder.parts[-3:] == ("moshi-phone", "nvidia--personaplex-7b-v1", "abc")


def as_moshi_saves_it(source: Path, target: Path) -> Path:
    """Write a file as ``moshi`` has done since 0.2.4: the attention of each slice separately."""
    tensors = dict[str, mx.array]()
    for name, tensor in loaded_lazily(source).items():
        stem, _, ending = name.rpartition(".self_attn.")
        kind = {"in_proj_weight": "in_projs", "out_proj.weight": "out_projs"}.get(ending)
        if kind is None:
            tensors[name] = tensor
            continue
        parts = mx.split(tensor, 16) if stem.startswith("depformer") else [tensor]
        for index, part in enumerate(parts):
            tensors[f"{stem}.self_attn.{kind}.{index}.weight"] = part
    mx.save_safetensors(str(target), tensors)
    return target


def test_the_newer_pytorch_layout_is_converted_bit_exactly(source: Path, tmp_path: Path) -> None:
    today = as_moshi_saves_it(source, tmp_path / "consolidated.safetensors")
    expected, found = tmp_path / "expected.safetensors", tmp_path / "found.safetensors"
    convert(source, expected, sizes(dim=256), QUANTIZATIONS[4], lambda _: None)
    convert(today, found, sizes(dim=256), QUANTIZATIONS[4], lambda _: None)
    wanted, tensors = loaded_lazily(expected), loaded_lazily(found)
    assert wanted.keys() == tensors.keys()
    assert all(mx.array_equal(wanted[name], tensors[name]).item() for name in wanted)


def test_slices_with_shared_weights_are_mapped_by_their_schedule(source: Path, tmp_path: Path) -> None:
    config, target = sizes(dim=256), tmp_path / "model.safetensors"
    config.depformer.weights_per_step_schedule = [0, 1, 2, 3, 4, 6, 5, 15]
    convert(source, target, config, None, lambda _: None)
    tensors, theirs = loaded_lazily(target), loaded_lazily(source)
    for index, weights in enumerate(config.depformer.weights_per_step_schedule):
        name = f"depformer.slices.{index}.linear_in.weight"
        assert mx.array_equal(tensors[name], theirs[f"depformer_in.{weights}.weight"]).item()


@pytest.mark.parametrize(
    "name", ["transformer.layers.0.self_attn.in_proj.lora_A.weight", "condition_provider.x.weight"]
)
def test_an_unknown_tensor_is_an_error(source: Path, tmp_path: Path, name: str) -> None:
    other = tmp_path / "other.safetensors"
    mx.save_safetensors(str(other), loaded_lazily(source) | {name: mx.zeros((1,))})
    with pytest.raises(OtherLayout, match=f"the tensor {name} belongs to another model"):
        convert(other, tmp_path / "target", sizes(dim=256), None, lambda _: None)


def test_a_file_s_layout_is_recognized(tmp_path: Path) -> None:
    theirs, ours, broken = (tmp_path / name for name in ("theirs", "ours", "broken"))
    names = ["out_norm.alpha", *(f"linears.{index}.weight" for index in range(16))]
    mx.save_safetensors(str(theirs), {name: mx.zeros((1,)) for name in names})
    mx.save_safetensors(str(ours), {"out_norm.weight": mx.zeros((1,))}, {"model_type": "personaplex"})
    theirs, ours = (Path(f"{path}.safetensors") for path in (theirs, ours))
    broken.write_bytes(b"\xff" * 100)
    assert [holds_personaplex(path) for path in (theirs, ours, broken)] == [True, True, False]
    assert [is_for_pytorch(path) for path in (theirs, ours, broken)] == [True, False, False]
