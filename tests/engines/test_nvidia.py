"""engines/nvidia.py: a GPU is found by the driver or by nvidia-smi."""

from __future__ import annotations

from pathlib import Path

import pytest

from moshi_phone.engines.nvidia import gpu_name

INFORMATION = """Model: \t\t NVIDIA H200
IRQ:   \t\t 171
GPU UUID: \t GPU-00000000-0000-0000-0000-000000000000
"""


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def nvidia_smi(folder: Path, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_the_driver_names_the_gpu(no_programs: Path, tmp_path: Path) -> None:
    card = tmp_path / "gpus" / "0000:04:00.0"
    card.mkdir(parents=True)
    (card / "information").write_text(INFORMATION)
    assert gpu_name(tmp_path / "gpus") == "NVIDIA H200"


def test_nvidia_smi_names_the_gpu_if_the_driver_does_not(no_programs: Path, tmp_path: Path) -> None:
    nvidia_smi(no_programs, "echo 'NVIDIA GeForce RTX 4090'; echo 'NVIDIA T4'")
    assert gpu_name(tmp_path / "none") == "NVIDIA GeForce RTX 4090"


@pytest.mark.parametrize("script", ["exit 9", "true", "echo >&2 broken; exit 1"])
def test_a_broken_nvidia_smi_means_no_gpu(no_programs: Path, tmp_path: Path, script: str) -> None:
    nvidia_smi(no_programs, script)
    assert gpu_name(tmp_path / "none") is None


def test_no_gpu(no_programs: Path, tmp_path: Path) -> None:
    assert gpu_name(tmp_path / "none") is None
