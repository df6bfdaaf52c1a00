from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from moshi_phone.engines.moshi.checkpoint.safetensors_writer import SafetensorsWriter, TensorSpec

ONE = np.arange(6, dtype=np.float32).reshape(2, 3)
TWO = np.arange(4, dtype=np.int64)
SPECS = {"one": TensorSpec("F32", (2, 3)), "two": TensorSpec("I64", (4,))}


def test_the_library_reads_the_written_file(tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    with SafetensorsWriter(path, SPECS, {"made": "here"}) as writer:
        writer.write("one", ONE.tobytes())
        writer.write("two", memoryview(TWO.tobytes()))
        writer.flush()
    read = load_file(path)
    assert np.array_equal(read["one"], ONE)
    assert np.array_equal(read["two"], TWO)
    assert path.stat().st_size == writer.total_bytes


def test_the_tensor_order_is_kept(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="expected one, got two"),
        SafetensorsWriter(tmp_path / "file", SPECS) as writer,
    ):
        writer.write("two", TWO.tobytes())


def test_a_tensor_of_another_length_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="one: expected 24 bytes, got 23"),
        SafetensorsWriter(tmp_path / "file", SPECS) as writer,
    ):
        writer.write("one", ONE.tobytes()[:-1])


def test_a_tensor_missing_at_the_end_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="expected 1 more tensors, next two, got none"),
        SafetensorsWriter(tmp_path / "file", SPECS) as writer,
    ):
        writer.write("one", ONE.tobytes())
