"""The listening model's files: found, checked and loaded, in both of Kyutai's layouts."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import huggingface_hub.constants
import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from safetensors.numpy import load_file, save_file

from moshi_phone.commands.random_model import randomize
from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi.model.quantized_model import Quantization, build
from moshi_phone.engines.moshi.stt.checkpoint import LISTENING_DOWNLOAD, cached_listening, find_listening
from moshi_phone.engines.moshi.stt.model import load
from moshi_phone.engines.moshi.stt.session import ListeningSession
from moshi_phone.engines.options import EngineOptions
from moshi_phone.vendor.moshi_mlx.models.lm import LmConfig
from tests.engines.moshi.files import use_endpoint
from tests.fakes.hub import FakeHub
from tests.support.tiny_listening import GOLDEN, caller, listening_config, write_tiny_listening

REPO = "somebody/stt-tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_listening(tmp_path_factory.mktemp("listening") / "tiny")


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "own"))


def options(model: object) -> EngineOptions:
    return EngineOptions(listen=True, listen_model=str(model))


def complaint(model: object) -> str:
    with pytest.raises(EngineUnavailable) as caught:
        find_listening(options(model), lambda _: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("pytorch", [False, True])
def test_loads_both_layouts_and_gives_kyutai_s_text(tmp_path: Path, pytorch: bool) -> None:
    folder = write_tiny_listening(tmp_path / "tiny", pytorch=pytorch)
    found = find_listening(options(folder), lambda _: None)
    assert (found.audio_delay_s, found.silence_s, found.from_pytorch) == (0.5, 0.0, pytorch)
    session = ListeningSession(load(found))
    assert [session.step(frame) for frame in caller(60)[1:]] == json.loads(GOLDEN.read_text())["text"][:59]


def test_loads_quantized_weights(own: Path) -> None:
    """As in the files whose names end in ``.q4.safetensors``."""
    names = {"tokenizer_name": "tokenizer.model", "moshi_name": "model.q4.safetensors"}
    config = listening_config(dim=128, num_heads=4, **names)  # packed rows are of 32 values
    model = build(LmConfig.from_config_dict(config), Quantization(4, 32))
    randomize(model, Quantization(4, 32), seed=0)
    mx.save_safetensors(str(own / "model.q4.safetensors"), dict(tree_flatten(model.parameters())))
    (own / "config.json").write_text(json.dumps(config))
    found = find_listening(options(own), lambda _: None)
    assert found.quantization == Quantization(4, 32)
    session, packed = ListeningSession(load(found)), ListeningSession(model)
    assert [session.step(frame) for frame in caller(20)] == [packed.step(frame) for frame in caller(20)]


@pytest.mark.parametrize("pytorch", [False, True])
def test_heads_missing_from_the_config_are_found_in_the_file(tmp_path: Path, pytorch: bool) -> None:
    folder = write_tiny_listening(tmp_path / "tiny", pytorch=pytorch)
    config = json.loads((folder / "config.json").read_text())
    del config["extra_heads_num_heads"], config["extra_heads_dim"]
    (folder / "config.json").write_text(json.dumps(config))
    found = find_listening(options(folder), lambda _: None)
    assert len(load(found).extra_heads) == found.config.extra_heads_num_heads > 0


def test_nan_weights_are_refused(own: Path) -> None:
    tensors = load_file(own / "model.safetensors")
    tensors["text_linear.weight"][0, 0] = np.inf
    save_file(tensors, own / "model.safetensors")
    with pytest.raises(EngineUnavailable, match=r"text_linear\.weight holds values that are not finite"):
        load(find_listening(options(own), lambda _: None))


def test_reads_the_model_s_delay(tmp_path: Path) -> None:
    timing = {"audio_delay_seconds": 2.5, "audio_silence_prefix_seconds": 1.0}
    found = find_listening(options(write_tiny_listening(tmp_path, stt_config=timing)), lambda _: None)
    assert (found.audio_delay_s, found.silence_s) == (2.5, 1.0)


def test_a_config_may_omit_the_depformer(own: Path) -> None:
    config = json.loads((own / "config.json").read_text())
    bare = {name: value for name, value in config.items() if not name.startswith("depformer")}
    (own / "config.json").write_text(json.dumps(bare))
    assert find_listening(options(own), lambda _: None).config.audio_codebooks == 32


@pytest.mark.parametrize("file", ["config.json", "tokenizer.model", "model.safetensors"])
def test_names_a_missing_file(own: Path, file: str) -> None:
    (own / file).unlink()
    assert f"{own / file} is missing; put it there" in complaint(own)


def test_names_a_damaged_file(own: Path) -> None:
    os.truncate(own / "model.safetensors", 1000)
    assert f"{own / 'model.safetensors'}: it is cut short or damaged" in complaint(own)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_q": 16, "delays": [0] * 17}, "got n_q 16, dep_q 0"),
        ({"delays": [0] * 32 + [1]}, "expected a model that listens, with n_q 32, dep_q 0 and no delays"),
        ({"text_card": 90}, "the tensor text_emb.weight: expected [91, 64], got [101, 64]"),
        ({"dim": None}, "it cannot be read"),
        ({"stt_config": [2.5]}, "it cannot be read"),
        ({"stt_config": {"audio_delay_seconds": "late"}}, "it cannot be read (could not convert"),
        ({"moshi_name": 1}, "it cannot be read (expected moshi_name to be text, got int)"),
    ],
)
def test_names_mismatched_tensors(own: Path, changes: dict[str, object], words: str) -> None:
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(config | changes))
    assert words in complaint(own)


def test_a_name_that_is_neither_a_folder_nor_a_repo_is_refused() -> None:
    assert "There is no folder nowhere/at/all; --listen-model takes a folder" in complaint("nowhere/at/all")


def test_fetches_missing_files_only_and_then_makes_no_request(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    (own / "mimi.safetensors").write_bytes(b"not wanted")
    with FakeHub(REPO, own) as hub:
        use_endpoint(hub.url, monkeypatch)
        assert cached_listening(options(REPO)) is None
        find_listening(options(REPO), lambda _: None)
        assert {file for _, file, _ in hub.requests} == {
            "config.json",
            "tokenizer.model",
            "model.safetensors",
        }
        asked = len(hub.requests)
        assert find_listening(options(REPO), lambda _: None).weights.name == "model.safetensors"
        assert cached_listening(options(REPO)) is not None
        assert len(hub.requests) == asked
        # A damaged file is named with its remedy, and fetched again by that.
        weights = find_listening(options(REPO), lambda _: None).weights.resolve()
        os.truncate(weights, 1000)
        assert f"run '{LISTENING_DOWNLOAD}' to fetch it again" in complaint(REPO)
        assert find_listening(options(REPO), lambda _: None, repair=True).weights.stat().st_size > 1000
