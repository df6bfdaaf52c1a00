from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import pytest

from moshi_phone.engines.moshi.checkpoint.tensor_shapes import Damaged, OtherLayout, check_shapes, read_shapes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.safetensors"
    mx.save_safetensors(str(path), {"a": mx.zeros((2, 3), mx.bfloat16), "b": mx.zeros((4,), mx.uint32)})
    return path


def test_shapes_of_bfloat16_tensors_are_read(file: Path) -> None:
    assert read_shapes(file) == {"a": (2, 3), "b": (4,)}


@pytest.mark.parametrize("kept_bytes", [0, 4, 60, -1])
def test_a_truncated_file_is_detected(file: Path, kept_bytes: int) -> None:
    file.write_bytes(file.read_bytes()[:kept_bytes])
    with pytest.raises(Damaged, match="it is cut short or damaged"):
        read_shapes(file)


def test_excess_bytes_are_detected(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(Damaged):
        read_shapes(file)


def test_missing_tensors_and_other_shapes_are_named() -> None:
    check_shapes({"a": (2,), "more": (1,)}, {"a": (2,)})
    with pytest.raises(OtherLayout, match="the tensor b is missing"):
        check_shapes({"a": (2,)}, {"b": (2,)})
    with pytest.raises(OtherLayout, match=r"the tensor a: expected \[2, 3\], got \[2\]"):
        check_shapes({"a": (2,)}, {"a": (2, 3)})
