"""Models in PyTorch's layout, whatever their names: the tensors decide, and no user's file is deleted."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import mlx.core as mx
import pytest

from moshi_phone.commands.random_model import write_tiny_tokenizer
from moshi_phone.engines.moshi import find_files
from moshi_phone.engines.moshi.checkpoint.checkpoint import CONFIG_NAME, MIMI_NAME, TOKENIZER_NAME
from moshi_phone.engines.options import EngineOptions
from tests.engines.moshi.checkpoint.test_convert import as_moshi_saves_it
from tests.engines.moshi.files import complaint, find, use_endpoint, write_hollow_mimi
from tests.fakes.hub import COMMIT, FakeHub
from tests.support.tiny_personaplex import write_personaplex

REPO = "somebody/moshi-of-mine"
NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_personaplex(tmp_path / "theirs", dtype="BF16", dim=128)
    write_hollow_mimi(folder / MIMI_NAME)
    write_tiny_tokenizer(folder / TOKENIZER_NAME, 100)
    return folder


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    with FakeHub(REPO, folder) as hub:
        use_endpoint(hub.url, monkeypatch)
        yield hub


@pytest.mark.slow
def test_a_repo_of_any_name_is_converted_and_its_files_are_kept(hub: FakeHub, tmp_path: Path) -> None:
    found = find(REPO)
    place = tmp_path / "home" / "moshi-phone" / "somebody--moshi-of-mine" / COMMIT
    assert found.weights == place / "model.q4.safetensors"
    blobs = {path: path.stat().st_size for path in (tmp_path / "home/hub").rglob("*") if path.is_file()}
    hub.requests.clear()
    assert find(REPO, repair=True) == found
    assert find_files.cached(EngineOptions(model=REPO, quantize="4"), lambda _: None) == found
    assert hub.requests == []
    assert all(path.stat().st_size == size for path, size in blobs.items())


@pytest.mark.parametrize("name", ["consolidated.safetensors", "mine.safetensors"])
def test_a_fine_tune_s_file_is_found_under_its_name(folder: Path, name: str) -> None:
    as_moshi_saves_it(folder / "model.safetensors", folder / name)
    (folder / "model.safetensors").unlink()
    if name == "mine.safetensors":
        config = json.loads((folder / CONFIG_NAME).read_text())
        (folder / CONFIG_NAME).write_text(json.dumps(config | {"moshi_name": name}))
    assert find(folder).weights == folder / "model.q4.safetensors"


def test_an_adapter_beside_the_weights_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    name = "transformer.layers.0.gating.linear_in.lora_A.weight"
    mx.save_safetensors(str(path), mx.load(str(path)) | {name: mx.zeros((1,))})  # type: ignore[operator]
    assert f"the tensor {name} is a LoRA adapter's, which cannot be loaded yet" in complaint(folder)


@pytest.mark.slow
def test_a_fine_tune_on_the_hub_is_found_under_its_name(hub: FakeHub, folder: Path) -> None:
    as_moshi_saves_it(folder / "model.safetensors", folder / "consolidated.safetensors")
    (folder / "model.safetensors").unlink()
    found = find(REPO)
    hub.requests.clear()
    assert find(REPO) == found
    assert hub.requests == []


def test_a_user_s_file_is_kept_whatever_its_date(folder: Path, tmp_path: Path) -> None:
    own = folder / "model.q4.safetensors"
    made = find(folder).weights
    shutil.move(made, tmp_path / "theirs.safetensors")
    mx.save_safetensors(str(own), mx.load(str(tmp_path / "theirs.safetensors")))  # type: ignore[arg-type]
    os.utime(own, (1, 1))  # older than PyTorch's beside it
    before = own.read_bytes()
    assert find(folder).weights == own
    assert own.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs a user who may not write")
def test_a_read_only_folder_is_converted_beside_the_hub_s_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as name:
        home, readonly = Path(name) / "home", Path(name) / "model"
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
        shutil.copytree(folder, readonly)
        home.mkdir()
        for path, mode in ((Path(name), 0o755), (home, 0o777), (readonly, 0o555)):
            path.chmod(mode)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            found = find(readonly)
            assert found.weights.is_relative_to(home / "moshi-phone")
            assert find(readonly) == found
        finally:
            if user == 0:
                os.seteuid(0)
            readonly.chmod(0o755)
