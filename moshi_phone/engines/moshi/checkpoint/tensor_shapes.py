"""The shapes of a safetensors file's tensors, read without their values, and whether the file is whole.

The library that made the format reads it; it finds files that were cut short as well.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

Shapes = dict[str, tuple[int, ...]]


class OtherLayout(Exception):
    """The file is whole, and holds other tensors than those that were expected; the text names the first."""


class Damaged(Exception):
    """The file is not the whole safetensors file that was expected; the text says how that shows."""


def read_shapes(path: Path) -> Shapes:
    """Give the shape of every tensor.

    Raises:
        Damaged: when the header cannot be read, or the file is shorter or longer than it says.
        OSError: when the file cannot be read.
    """
    try:
        # Only values are numpy's; the shapes of bfloat16, which numpy lacks, can be read all the same.
        with safe_open(path, "numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        size_bytes = path.stat().st_size
        raise Damaged(f"it is cut short or damaged ({size_bytes:,} bytes; {error})") from error


def check_shapes(found: Shapes, expected: Shapes) -> None:
    """Check that every expected tensor is there, in its shape.

    Raises:
        OtherLayout: naming the first that is not.
    """
    for name, shape in expected.items():
        if name not in found:
            raise OtherLayout(f"the tensor {name} is missing")
        if found[name] != shape:
            raise OtherLayout(f"the tensor {name}: expected {list(shape)}, got {list(found[name])}")
