"""Shapes of a safetensors file's tensors, read without their values, and a check for truncation.

The ``safetensors`` library reads the header; it also detects truncated files.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

Shapes = dict[str, tuple[int, ...]]


class OtherLayout(Exception):
    """The file is intact, but its tensors differ from those expected; the message names the first."""


class Damaged(Exception):
    """The file is truncated or is not a safetensors file; the message gives the symptom."""


def read_shapes(path: Path) -> Shapes:
    """Return the shape of every tensor.

    Raises:
        Damaged: when the header is unreadable, or the file's length differs from the header's.
        OSError: when the file cannot be read.
    """
    try:
        # "numpy" concerns values only: shapes of bfloat16, which numpy lacks, can be read.
        with safe_open(path, "numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        size_bytes = path.stat().st_size
        raise Damaged(f"it is cut short or damaged ({size_bytes:,} bytes; {error})") from error


def check_shapes(found: Shapes, expected: Shapes) -> None:
    """Check that every expected tensor exists with its shape.

    Raises:
        OtherLayout: names the first missing or differing tensor.
    """
    for name, shape in expected.items():
        if name not in found:
            raise OtherLayout(f"the tensor {name} is missing")
        if found[name] != shape:
            raise OtherLayout(f"the tensor {name}: expected {list(shape)}, got {list(found[name])}")
