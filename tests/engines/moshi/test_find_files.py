"""Finding, fetching and checking Moshi's files, with a hub on the loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import huggingface_hub.constants
import mlx.core as mx
import pytest
from click.testing import CliRunner

from moshi_phone.commands.download import download
from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi import find_files as weights
from moshi_phone.engines.moshi.checkpoint.checkpoint import CONFIG_NAME, MIMI_NAME, TOKENIZER_NAME
from moshi_phone.engines.moshi.load_model import Files
from moshi_phone.engines.moshi.model.quantized_model import Quantization
from moshi_phone.engines.options import EngineOptions
from tests.engines.moshi.files import WEIGHTS_NAME, complaint, find, use_endpoint
from tests.fakes.hub import COMMIT, FakeHub
from tests.support.tiny_moshi import write_tiny_checkpoint

REPO = "somebody/moshi-tiny"


FILES = [CONFIG_NAME, MIMI_NAME, TOKENIZER_NAME, WEIGHTS_NAME]


CLOSED = "http://127.0.0.1:9"  # no server listens there


@pytest.fixture
def hub(own_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with the checkpoint, and an empty cache."""
    with FakeHub(REPO, own_checkpoint) as hub:
        use_endpoint(hub.url, monkeypatch)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield hub


def fill_cache(cache: Path, source: Path, files: list[str]) -> dict[str, Path]:
    """Store files as the hub's client does; return the blobs."""
    root = cache / f"models--{REPO.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs/main").write_text(COMMIT)
    (root / "blobs").mkdir()
    (root / "snapshots" / COMMIT).mkdir(parents=True)
    blobs = {}
    for number, file in enumerate(files):
        blobs[file] = root / "blobs" / f"{number:064x}"
        if file == MIMI_NAME:
            blobs[file].symlink_to((source / file).resolve())
        else:
            shutil.copy(source / file, blobs[file])
        (root / "snapshots" / COMMIT / file).symlink_to(blobs[file])
    return blobs


def test_finds_a_folder_s_files(hollow_checkpoint: Path) -> None:
    found = find(hollow_checkpoint)
    assert found.weights == hollow_checkpoint / WEIGHTS_NAME
    assert found.quantization == Quantization(4, 32)
    assert (found.mimi.name, found.tokenizer.name) == (MIMI_NAME, TOKENIZER_NAME)


@pytest.mark.parametrize("file", [MIMI_NAME, TOKENIZER_NAME, WEIGHTS_NAME])
def test_names_a_missing_file(own_checkpoint: Path, file: str) -> None:
    (own_checkpoint / file).unlink()
    assert f"{own_checkpoint / file} is missing; put it there" in complaint(own_checkpoint)


def test_a_missing_folder() -> None:
    assert "There is no folder /no/such/folder; --model takes" in complaint("/no/such/folder")


def test_the_default_repos_are_kyutai_s() -> None:
    assert weights.kyutai_repo(EngineOptions()) == "kyutai/moshiko-mlx-q4"
    assert weights.kyutai_repo(EngineOptions(voice="moshika", quantize="none")) == "kyutai/moshika-mlx-bf16"


def test_an_unpublished_quantization_is_reported_in_one_sentence() -> None:
    with pytest.raises(EngineUnavailable, match="with --quantize 4, 8 or none; 4-8 is for weights"):
        weights.find(EngineOptions(quantize="4-8"), lambda _: None)


@pytest.mark.parametrize(
    ("options", "packing"),
    [
        (EngineOptions(), "4"),
        (EngineOptions(voice="moshika"), "4"),
        (EngineOptions(voice="NATF2"), "8"),
        (EngineOptions(persona="You are Anna."), "8"),
        (EngineOptions(model="nvidia/personaplex-7b-v1"), "8"),
        (EngineOptions(model="nvidia/personaplex-7b-v1", quantize="4-8"), "4-8"),
    ],
)
def test_personaplex_has_8_bits_by_default(options: EngineOptions, packing: str) -> None:
    assert options.packing == packing


def test_fetches_missing_files_only(hub: FakeHub, own_checkpoint: Path, tmp_path: Path) -> None:
    fill_cache(tmp_path / "cache", own_checkpoint, [CONFIG_NAME, MIMI_NAME, WEIGHTS_NAME])
    (own_checkpoint / "model.q8.safetensors").write_bytes(b"never fetched")
    found = find(REPO)
    assert found.tokenizer.read_bytes() == (own_checkpoint / TOKENIZER_NAME).read_bytes()
    assert {file for _, file, _ in hub.requests} == {TOKENIZER_NAME}
    hub.requests.clear()
    find(REPO)
    assert hub.requests == []


def test_resumes_an_interrupted_download(
    hub: FakeHub, own_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_cache(tmp_path / "cache", own_checkpoint, [CONFIG_NAME, MIMI_NAME, TOKENIZER_NAME])
    monkeypatch.setattr("time.sleep", lambda _: None)  # the hub's client waits between its own tries
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # the size of a write
    hub.break_off_after_bytes[WEIGHTS_NAME] = 5000
    assert f"{WEIGHTS_NAME} of {REPO} is not in the cache, and fetching it failed" in complaint(REPO)
    hub.break_off_after_bytes.clear()
    hub.requests.clear()
    found = find(REPO)
    assert ("GET", WEIGHTS_NAME, "bytes=5000-") in hub.requests
    assert found.weights.read_bytes() == (own_checkpoint / WEIGHTS_NAME).read_bytes()


def test_names_the_file_when_the_hub_cannot_be_reached(
    hub: FakeHub, own_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_cache(tmp_path / "cache", own_checkpoint, [CONFIG_NAME, MIMI_NAME, TOKENIZER_NAME])
    use_endpoint(CLOSED, monkeypatch)
    text = complaint(REPO)
    assert text.startswith(f"{WEIGHTS_NAME} of {REPO} is not in the cache, and fetching it failed (")
    assert "run 'uv run bot.py download' with a network connection" in text


@pytest.mark.slow
def test_fetched_files_are_found_without_a_network(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    find(REPO)
    use_endpoint(CLOSED, monkeypatch)
    assert weights.cached(EngineOptions(model=REPO), lambda _: None) is not None
    assert find(REPO).weights.name == WEIGHTS_NAME


def test_names_a_repo_or_file_missing_on_the_hub(hub: FakeHub, own_checkpoint: Path) -> None:
    assert "The hub shows no repo somebody/else, wanted for config.json" in complaint("somebody/else")
    (own_checkpoint / TOKENIZER_NAME).unlink()
    assert f"The repo {REPO} has no file {TOKENIZER_NAME}" in complaint(REPO)


def test_a_full_disk_is_reported(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moshi_phone.engines.moshi.checkpoint.hub.http_get", full)
    assert "The disk is full while fetching config.json; free some space" in complaint(REPO)


def test_a_damaged_cached_file_is_named_and_download_repairs_it(
    hub: FakeHub, own_checkpoint: Path, tmp_path: Path
) -> None:
    blobs = fill_cache(tmp_path / "cache", own_checkpoint, FILES)
    os.truncate(blobs[WEIGHTS_NAME], 200_000)
    text = complaint(REPO)
    assert WEIGHTS_NAME in text
    assert "it is cut short or damaged (200,000 bytes; " in text
    assert text.endswith("; run 'uv run bot.py download' to fetch it again.")
    assert hub.requests == [], "serving must not change a cache"
    result = CliRunner().invoke(download, ["--model", REPO])
    assert result.exit_code == 0, result.output
    assert f"{WEIGHTS_NAME}: " in result.output
    assert (
        find(REPO).weights == tmp_path / "moshi-phone/somebody--moshi-tiny" / COMMIT / "files" / WEIGHTS_NAME
    )
    assert blobs[WEIGHTS_NAME].stat().st_size == 200_000, "the cache is shared: nothing in it is touched"


def test_an_intact_file_of_another_model_is_neither_damaged_nor_fetched_again(
    hub: FakeHub, own_checkpoint: Path, tmp_path: Path
) -> None:
    tensors = cast("dict[str, mx.array]", mx.load(str(own_checkpoint / WEIGHTS_NAME)))
    mx.save_safetensors(str(own_checkpoint / WEIGHTS_NAME), tensors | {"more.weight": mx.zeros((1,))})
    fill_cache(tmp_path / "cache", own_checkpoint, FILES)
    expected = (
        "the tensor more.weight belongs to another model; the file is whole, but not one for this program."
    )
    assert complaint(REPO).endswith(expected)
    assert complaint(own_checkpoint).endswith(expected)
    with pytest.raises(EngineUnavailable, match="holds it like this, try another --model"):
        find(REPO, repair=True)
    assert {method for method, _, _ in hub.requests} == {"HEAD"}


@pytest.mark.parametrize("name", ["model.safetensors", "model.q8.safetensors", "consolidated.safetensors"])
def test_the_quantization_is_read_from_the_tensors_not_the_file_name(
    hub: FakeHub, own_checkpoint: Path, tmp_path: Path, name: str
) -> None:
    (own_checkpoint / WEIGHTS_NAME).rename(own_checkpoint / name)
    config = json.loads((own_checkpoint / CONFIG_NAME).read_text())
    del config["moshi_name"]
    (own_checkpoint / CONFIG_NAME).write_text(json.dumps(config))
    fill_cache(tmp_path / "cache", own_checkpoint, [CONFIG_NAME, MIMI_NAME, TOKENIZER_NAME, name])
    assert find(REPO).quantization == Quantization(4, 32)
    assert "GET" not in {method for method, _, _ in hub.requests}
    hub.requests.clear()
    assert find(REPO).weights.name == name
    assert hub.requests == []


def test_a_missing_config_alone_is_fetched(
    hub: FakeHub, own_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_cache(tmp_path / "cache", own_checkpoint, [MIMI_NAME, TOKENIZER_NAME, WEIGHTS_NAME])
    assert weights.cached(EngineOptions(model=REPO), lambda _: None) is None
    find(REPO)
    assert {file for _, file, _ in hub.requests} == {CONFIG_NAME}
    use_endpoint(CLOSED, monkeypatch)
    find(REPO)


def test_the_absence_of_a_repo_s_config_is_requested_once(
    hub: FakeHub, own_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_checkpoint / CONFIG_NAME).unlink()
    fill_cache(tmp_path / "cache", own_checkpoint, [MIMI_NAME, TOKENIZER_NAME, WEIGHTS_NAME])
    with monkeypatch.context() as patched:
        use_endpoint(CLOSED, patched)
        assert f"{CONFIG_NAME} of {REPO} is not in the cache" in complaint(REPO), "sizes are not guessed"
    sizes = "which 4096 inputs do not fit; the file is whole"  # Moshi's sizes are taken, and are not these
    assert sizes in complaint(REPO)
    hub.requests.clear()
    assert sizes in complaint(REPO)
    assert hub.requests == []


@pytest.mark.parametrize("entry", ['"lora": true', '"lora": "true"', '"lora_name": "lora.safetensors"'])
def test_a_lora_fine_tune_is_refused(own_checkpoint: Path, entry: str) -> None:
    config = own_checkpoint / CONFIG_NAME
    config.write_text(config.read_text().replace("{", "{" + entry + ",", 1))
    assert "it is of a LoRA fine-tune, whose adapter cannot be loaded yet" in complaint(own_checkpoint)


@pytest.mark.parametrize(
    "name",
    [
        "transformer.layers.0.self_attn.in_projs.0.lora_A.weight",
        "transformer.layers.0.gating.linear_in.lora_a",
        "base_model.model.transformer.layers.0.gating.linear_in.lora_magnitude_vector.default.weight",
    ],
)
def test_a_lora_adapter_alone_is_named(own_checkpoint: Path, name: str) -> None:
    path = own_checkpoint / WEIGHTS_NAME
    mx.save_safetensors(str(path), {name: mx.zeros((1,))})
    assert "it is a LoRA adapter alone" in complaint(own_checkpoint)
    for adapter in ("lora.safetensors", "adapter_model.safetensors"):
        path = path.rename(own_checkpoint / adapter)
        assert f"{adapter}: it is a LoRA adapter alone" in complaint(own_checkpoint)


@pytest.mark.parametrize(
    "name",
    [
        "./nothing",
        "../nothing",
        "nothing/",
        "~/nothing",
        "a/b/c",
        "a b/c",
        "a//b",
        "nothing",
        "~nobody_of_that_name/x",
        "a" * 300,
    ],
)
def test_a_name_that_is_neither_a_folder_nor_a_repo_is_one_sentence(name: str) -> None:
    assert f"There is no folder {name}" in complaint(name)


def test_a_file_in_place_of_a_folder(own_checkpoint: Path) -> None:
    path = own_checkpoint / WEIGHTS_NAME
    assert complaint(path) == f"{path} is a file; --model takes the folder that it is in."


def test_nan_weights_are_refused_at_the_start(own_checkpoint: Path) -> None:
    tensors = cast("dict[str, mx.array]", mx.load(str(own_checkpoint / WEIGHTS_NAME)))
    tensors["out_norm.weight"] = mx.full(tensors["out_norm.weight"].shape, float("nan"))
    mx.save_safetensors(str(own_checkpoint / WEIGHTS_NAME), tensors)
    with pytest.raises(EngineUnavailable, match=r"out_norm\.weight holds values that are not finite"):
        Files().load(find(own_checkpoint), lambda _: None)


def test_a_file_damaged_on_the_hub_is_fetched_once(
    hub: FakeHub, own_checkpoint: Path, tmp_path: Path
) -> None:
    fill_cache(tmp_path / "cache", own_checkpoint, [CONFIG_NAME, MIMI_NAME, TOKENIZER_NAME])
    os.truncate(own_checkpoint / WEIGHTS_NAME, 200_000)
    with pytest.raises(EngineUnavailable, match="holds it like this, try another --model"):
        find(REPO, repair=True)


def test_the_command_line_reports_it_in_one_sentence(own_checkpoint: Path) -> None:
    (own_checkpoint / TOKENIZER_NAME).unlink()
    result = CliRunner().invoke(download, ["--model", str(own_checkpoint)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {own_checkpoint / TOKENIZER_NAME} is missing")
    assert "Traceback" not in result.output
    assert result.stderr.count("\n") == 1


WITHOUT_NETWORK = """
import asyncio, socket, sys

def refuse(*arguments, **_):
    raise AssertionError(f"asked the network: {arguments}")

socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = socket.create_connection = refuse

from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.options import EngineOptions

async def load():
    engine = MoshiEngine(EngineOptions(model=sys.argv[1], greeting="none"))
    await engine.start(print)
    await engine.stop()

asyncio.run(load())
"""


@pytest.mark.slow
def test_loading_from_a_full_cache_makes_no_request(hollow_checkpoint: Path, tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(
        tmp_path / "full", quantization=Quantization(4, 32), mimi=hollow_checkpoint / MIMI_NAME, layers=1
    )
    fill_cache(tmp_path / "home" / "hub", folder, FILES)
    environment = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_ENABLE_HF_TRANSFER": "1", "HF_ENDPOINT": CLOSED}
    loading = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", WITHOUT_NETWORK, REPO],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert loading.returncode == 0, loading.stderr
    assert f"from the cache of {REPO}" in loading.stdout
    assert "ready for 1 call" in loading.stdout


def test_a_persona_or_its_voice_selects_personaplex(tmp_path: Path) -> None:
    from_voice = weights._repo(EngineOptions(voice="NATF2"))
    assert from_voice == weights._repo(EngineOptions(persona="You are Anna.")) == "nvidia/personaplex-7b-v1"
    assert (
        weights._repo(EngineOptions(voice=str(Path(__file__).parent / "data" / "personaplex_voice.pt")))
        == from_voice
    )
    assert weights._repo(EngineOptions(voice="moshika")) == "kyutai/moshika-mlx-q4"
    with pytest.raises(EngineUnavailable, match="--voice moshika is Moshi's, which takes no persona"):
        weights._repo(EngineOptions(voice="moshika", persona="You are Anna."))
    with pytest.raises(EngineUnavailable, match=r"There is no file none\.wav to take the voice from"):
        weights._repo(EngineOptions(voice="none.wav"))
    (tmp_path / "bad.pt").write_text("nothing of the kind")
    with pytest.raises(EngineUnavailable, match=r"bad\.pt is not a voice: it is no whole zip archive"):
        weights._repo(EngineOptions(voice=str(tmp_path / "bad.pt")))
    with pytest.raises(
        EngineUnavailable, match=r"There is no voice 'moshikko'; 'uv run bot.py voices' lists"
    ):
        weights._repo(EngineOptions(voice="moshikko"))
