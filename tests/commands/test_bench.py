"""``bench`` with random weights in the shapes of a tiny model; nothing is downloaded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from moshi_phone.commands import random_weights as loading
from moshi_phone.commands.bench import bench
from moshi_phone.engines.moshi import find_files as weights
from moshi_phone.vendor.moshi_mlx.models.lm import LmConfig
from tests.support.tiny_config import tiny_config
from tests.support.tiny_listening import listening_config


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure all frames, however busy this machine is."""
    monkeypatch.setattr("moshi_phone.commands.bench.GIVE_UP_MS", 1e9)


@pytest.mark.slow
def test_measures_random_weights_if_none_are_installed(
    mimi_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "cached", lambda *_: None)
    monkeypatch.setattr("moshi_phone.engines.nvidia.gpu_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(loading, "config_v0_1", lambda: LmConfig.from_config_dict(tiny_config()))
    monkeypatch.setattr(loading, "write_random_mimi", lambda _: mimi_file)
    result = CliRunner().invoke(bench, ["--frames", "4"], catch_exceptions=False)
    assert "random weights, as large as the real ones with --quantize 4" in result.output
    for stage in ("encode", "language", "decode", "answer"):
        assert f"\n{stage} " in result.output
    assert "\nlisten " not in result.output
    assert "\nThis machine's NVIDIA H200 is not used: UV_NO_GROUP=cpu uv sync --extra cuda" in result.output
    verdict, last = result.output.splitlines()[-2:]
    assert verdict.startswith("Verdict: ")
    assert re.match(r"Holds about \d+ calls? at once: .*memory \d+", last)
    assert result.exit_code == (0 if "Verdict: keeps up" in verdict else 1)


@pytest.mark.slow
def test_stops_after_a_first_step_that_is_much_too_slow(
    mimi_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "cached", lambda *_: None)
    monkeypatch.setattr(loading, "config_v0_1", lambda: LmConfig.from_config_dict(tiny_config()))
    monkeypatch.setattr(loading, "write_random_mimi", lambda _: mimi_file)
    monkeypatch.setattr("moshi_phone.commands.bench.GIVE_UP_MS", 0.0)
    result = CliRunner().invoke(bench, ["--frames", "400000"], catch_exceptions=False)
    assert re.fullmatch(
        r"Verdict: too slow: a step of the model takes \d+\.\d s for 80 ms of speech\.",
        result.output.splitlines()[-1],
    )
    assert result.exit_code == 1


@pytest.mark.slow
def test_measures_the_listening_model(mimi_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "cached", lambda *_: None)
    monkeypatch.setattr(loading, "config_v0_1", lambda: LmConfig.from_config_dict(tiny_config()))
    monkeypatch.setattr(loading, "stt_1b", lambda: LmConfig.from_config_dict(listening_config(card=2048)))
    monkeypatch.setattr(loading, "write_random_mimi", lambda _: mimi_file)
    result = CliRunner().invoke(bench, ["--listen", "--frames", "6"], catch_exceptions=False)
    assert "The listening model is not here, so both get random weights." in result.output
    assert "\nlisten " in result.output


@pytest.mark.slow
def test_measures_a_persona(mimi_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "cached", lambda *_: None)
    monkeypatch.setattr(loading, "config_v0_1", lambda: LmConfig.from_config_dict(tiny_config()))
    monkeypatch.setattr(loading, "write_random_mimi", lambda _: mimi_file)
    # In 4 bits: the groups of 8 bits, PersonaPlex' default, do not divide the tiny model's widths.
    arguments = ["--persona", "You are Anna.", "--voice", "NATF2", "--quantize", "4", "--frames", "3"]
    result = CliRunner().invoke(bench, arguments, catch_exceptions=False)
    assert re.search(
        r"Persona and voice: \d+ frames, read in \d+ ms in one pass \([\d,]+ ms one by one\); [\d.]+ MB, "
        r"copied into a call in [\d.]+ ms\.",
        result.output,
    )
