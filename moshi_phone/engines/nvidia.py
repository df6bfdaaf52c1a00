"""Detection of this machine's NVIDIA GPU, also if mlx does not use it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

REMEDY = "UV_NO_GROUP=cpu uv sync --extra cuda, and UV_NO_GROUP=cpu in the environment from then on"
"""Both of mlx's backends install the same file, and a plain ``uv run`` reinstalls the CPU one."""

_DRIVER = Path("/proc/driver/nvidia/gpus")
_ANSWER_SECS = 10.0


def gpu_name(driver: Path = _DRIVER) -> str | None:
    """Return the first NVIDIA GPU's name, or None. Queries the driver, not mlx.

    Args:
        driver: the folder in which Linux's driver lists its GPUs, one subfolder each.
    """
    for information in sorted(driver.glob("*/information")):
        for line in information.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "Model":
                return value.strip()
    return _ask_nvidia_smi()  # under WSL the driver lists nothing


def gpu_memory_bytes() -> int | None:
    """Return the memory of the first NVIDIA GPU; None if the driver does not report it."""
    answer = _ask_nvidia_smi("memory.total", "noheader,nounits")
    return int(answer) * 2**20 if answer is not None and answer.strip().isdecimal() else None


def _ask_nvidia_smi(what: str = "name", form: str = "noheader") -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={what}", f"--format=csv,{form}"]
    try:
        result = subprocess.run(  # noqa: S603 - the user's own nvidia-smi
            command, capture_output=True, text=True, timeout=_ANSWER_SECS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(result.stdout.splitlines()), None)
