"""``voices``: the list, which are installed, and a sample spoken by the tiny PersonaPlex."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from moshi_phone.commands import voices as command
from moshi_phone.commands.checks.machine import _wanted_gb, check_voices
from moshi_phone.commands.voices import voices
from moshi_phone.engines.options import EngineOptions


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_lists_all_twenty_voices() -> None:
    result = CliRunner().invoke(voices, [], catch_exceptions=False)
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.output.splitlines() if line.startswith("    ")]
    assert len(names) == 20
    assert names[:3] == ["moshiko", "moshika", "NATF0"]
    assert "NATF2      natural, female, the default" in result.output


def test_marks_installed_voices(tiny_personaplex: Path) -> None:
    result = CliRunner().invoke(voices, ["--model", str(tiny_personaplex)], catch_exceptions=False)
    marked = [line.split()[1] for line in result.output.splitlines() if line.startswith("  * ")]
    assert marked == ["NATF2", "NATM0", "VARF1"]


@pytest.mark.slow
def test_writes_a_sample(tiny_personaplex: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "SAMPLE_SECS", 0.4)
    monkeypatch.setattr(command, "WORDS", "dada")
    target = tmp_path / "sample.wav"
    arguments = [
        "--model",
        str(tiny_personaplex),
        "--quantize",
        "none",
        "--play",
        "NATM0",
        "--out",
        str(target),
    ]
    result = CliRunner().invoke(voices, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    pcm, rate_hz = soundfile.read(target)
    assert (len(pcm), rate_hz) == (5 * 1920, 24_000)
    assert np.abs(pcm).max() > 0


def test_a_sample_is_not_generated_if_it_cannot_be_written(tmp_path: Path) -> None:
    for target in (tmp_path / "none" / "x.wav", tmp_path / "one" / "two" / "x.wav"):
        result = CliRunner().invoke(voices, ["--play", "NATM0", "--out", str(target)])
        assert result.exit_code == 2
        assert f"Cannot write to {target}; name another file with --out." in result.output


@pytest.mark.slow
def test_a_missing_voice_is_named(tiny_personaplex: Path) -> None:
    arguments = ["--model", str(tiny_personaplex), "--quantize", "none", "--play", "NATF3"]
    result = CliRunner().invoke(voices, arguments)
    assert result.exit_code == 2
    assert "There is no voice 'NATF3'" in result.output
    assert "Traceback" not in result.output


def test_the_doctor_checks_voices_and_disk_space_for_a_conversion(
    tiny_personaplex: Path, tmp_path: Path
) -> None:
    named = EngineOptions(engine="moshi", model=str(tiny_personaplex), voice="NATM0")
    good = check_voices(named)
    assert good is not None
    assert good.state == "ok"
    assert "NATM0, one of 3 at " in good.found
    assert check_voices(EngineOptions(engine="moshi")) is None
    absent = check_voices(EngineOptions(engine="moshi", persona="You are Anna."))
    assert absent is not None
    assert (absent.state, absent.remedy) == ("fail", "uv run bot.py download --voice NATF2")
    (tmp_path / "bad.pt").write_bytes(b"")
    bad = check_voices(
        EngineOptions(engine="moshi", model=str(tiny_personaplex), voice=str(tmp_path / "bad.pt"))
    )
    assert bad is not None
    assert bad.state == "fail"
    assert "is not a voice" in bad.found
    assert _wanted_gb(EngineOptions(engine="moshi", voice="NATF2")) == pytest.approx(
        16.7 + 8.7
    )  # PersonaPlex is packed in 8 bits
    assert _wanted_gb(EngineOptions(engine="moshi")) == 5.3
