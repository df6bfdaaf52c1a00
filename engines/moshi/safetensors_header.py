"""The head of a safetensors file: what should be in it, read without reading the rest."""

from __future__ import annotations

import json
from pathlib import Path

Shapes = dict[str, tuple[int, ...]]

LENGTH_BYTES = 8
HEADER_LIMIT_BYTES = 100_000_000  # the format's own bound


class Damaged(Exception):
    """The file is not a whole safetensors file; the text says how that shows."""


def read_shapes(path: Path) -> Shapes:
    """Give the shape of every tensor.

    Raises:
        Damaged: when the header cannot be read, or the file is shorter or longer than it says.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if size_bytes < LENGTH_BYTES or length > min(size_bytes, HEADER_LIMIT_BYTES):
            raise Damaged(f"it has no safetensors header within its {size_bytes:,} bytes")
        text = file.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        shapes = {name: tuple(map(int, tensor["shape"])) for name, tensor in header.items()}
        end = max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise Damaged("its safetensors header cannot be read") from error
    expected_bytes = LENGTH_BYTES + length + end
    if size_bytes != expected_bytes:
        raise Damaged(f"expected {expected_bytes:,} bytes, got {size_bytes:,}")
    return shapes


def check_shapes(found: Shapes, expected: Shapes) -> None:
    """Check that every expected tensor is there, in its shape.

    Raises:
        Damaged: naming the first that is not.
    """
    for name, shape in expected.items():
        if name not in found:
            raise Damaged(f"the tensor {name} is missing")
        if found[name] != shape:
            raise Damaged(f"the tensor {name}: expected {list(shape)}, got {list(found[name])}")
