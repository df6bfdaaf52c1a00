from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from moshi_phone.runtime.machine_memory import machine_memory_bytes


def test_without_a_container_the_machine_s_memory_counts(tmp_path: Path) -> None:
    assert machine_memory_bytes(tmp_path) == pytest.approx(psutil.virtual_memory().total, rel=0.01)


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_container_s_limit_counts(tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("1073741824\n")
    assert machine_memory_bytes(tmp_path) == 2**30
    (tmp_path / file).write_text("max\n")
    assert machine_memory_bytes(tmp_path) > 2**30
