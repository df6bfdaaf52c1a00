"""The doctor's checks of this machine: each success, each failure, each with its remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moshi_phone.commands.checks.check import Check
from moshi_phone.commands.checks.machine import (
    check_accelerator,
    check_disk,
    check_listening,
    check_memory,
    check_packages,
    check_python,
    check_weights,
)
from moshi_phone.engines.options import EngineOptions

PARROT = EngineOptions(engine="parrot")


def is_bad(check: Check, found: str, remedy: str = "") -> bool:
    return check.state == "fail" and found in check.found and remedy in check.remedy


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9), (3, 13, 1)])
def test_a_supported_python(version: tuple[int, ...]) -> None:
    assert check_python(version).state == "ok"


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0)])
def test_an_unsupported_python(version: tuple[int, ...]) -> None:
    assert is_bad(check_python(version), "3.1", "uv run --python 3.12")


def test_packages(tmp_path: Path) -> None:
    assert check_packages().state == "ok"
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["click>=999", "no-such-package", "x; sys_platform == \'none\'"]\n'
    )
    bad = check_packages(project)
    assert is_bad(bad, "wanted >=999; no-such-package is missing", "uv sync")


def test_packages_of_the_server_extra_are_checked(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        "[project]\ndependencies = []\n[project.optional-dependencies]\n"
        'server = ["no-such-server"]\nray = ["no-such-cluster"]\n'
    )
    bad = check_packages(project)
    assert is_bad(bad, "no-such-server is missing", "uv sync")
    assert "no-such-cluster" not in str(bad)


def test_requirements_are_read_from_the_installed_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = [
        "numpy>=2",
        "no-such-server; extra == 'server'",
        "ray; extra == 'ray'",
        "x; sys_platform == 'none'",
    ]
    monkeypatch.setattr("moshi_phone.commands.checks.machine.metadata.requires", lambda _: lines)
    assert is_bad(check_packages(tmp_path / "none.toml"), "no-such-server is missing", "uv sync")


@pytest.mark.parametrize(
    ("engine", "found", "state"),
    [
        ("parrot", None, "note"),
        ("auto", None, "note"),
        ("auto", "Metal", "ok"),
        ("moshi", "CUDA", "ok"),
        ("moshi", None, "fail"),
    ],
)
def test_the_accelerator(monkeypatch: pytest.MonkeyPatch, engine: str, found: str | None, state: str) -> None:
    monkeypatch.setattr("moshi_phone.commands.checks.machine.accelerator", lambda: found)
    check = check_accelerator(EngineOptions(engine=engine))
    assert check.state == state
    assert bool(check.remedy) == (found is None and engine != "parrot")


@pytest.mark.parametrize(("engine", "state"), [("auto", "note"), ("moshi", "fail")])
def test_a_gpu_that_mlx_does_not_use(monkeypatch: pytest.MonkeyPatch, engine: str, state: str) -> None:
    monkeypatch.setattr("moshi_phone.engines.nvidia.gpu_name", lambda: "NVIDIA H200")
    check = check_accelerator(EngineOptions(engine=engine))
    assert (check.state, check.found) == (state, "NVIDIA H200, which mlx does not use")
    assert "uv sync --extra cuda" in check.remedy


def test_the_parrot_needs_no_weights() -> None:
    assert check_weights(PARROT).state == "note"


def test_moshis_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    missing = check_weights(EngineOptions(engine="moshi"))
    assert is_bad(missing, "some of them are missing", "uv run bot.py download")
    empty = check_weights(EngineOptions(engine="moshi", model=str(tmp_path)))
    assert is_bad(empty, "is missing; put it there, or leave out --model")


def test_the_listening_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_listening: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    listening = EngineOptions(engine="moshi", listen=True)
    assert is_bad(check_listening(listening), "are missing", "uv run bot.py download --listen")
    empty = check_listening(replace(listening, listen_model=str(tmp_path)))
    assert is_bad(empty, "is missing; put it there, or leave out --listen-model")
    assert check_listening(replace(listening, listen_model=str(tiny_listening))).state == "ok"
    assert check_listening(replace(PARROT, listen=True)).state == "note"


def test_the_memory_that_the_options_need(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_memory(PARROT).state == "note"
    monkeypatch.setattr("moshi_phone.engines.moshi.memory.machine_memory_bytes", lambda: 10 * 10**9)
    one = check_memory(EngineOptions(engine="moshi"))
    assert (one.state, one.found) == ("ok", "8.5 of the machine's 10.0 GB")
    two = check_memory(EngineOptions(engine="moshi", calls=2))
    assert (two.state, two.remedy) == (
        "fail",
        "use fewer --calls or --quantize 4, or close other programs",
    )


def test_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 3_000_000_000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    nowhere = tmp_path / "not" / "yet"
    assert check_disk(PARROT, weights_are_here=True, cache=nowhere).found == f"3 GB free at {tmp_path}"
    full = check_disk(EngineOptions(), weights_are_here=False, cache=nowhere)
    assert is_bad(full, "3 GB free", "free some, or set HF_HOME")
