"""Sequential writer of safetensors files, with one tensor in memory at a time."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

WIDTH_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "I64": 8}


@dataclass(frozen=True)
class TensorSpec:
    """Dtype and shape of one tensor.

    Attributes:
        dtype: the format's name for it, a key of ``WIDTH_BYTES``.
        shape: its dimensions.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Size of its data."""
        return WIDTH_BYTES[self.dtype] * math.prod(self.shape)


class SafetensorsWriter:
    """A context manager that writes the data of each tensor, in the declared order.

    Args:
        path: overwritten. The file is complete only after the context ends without an error.
        specs: every tensor by name, in the file's order.
        metadata: strings for the header.
    """

    def __init__(
        self, path: Path, specs: Mapping[str, TensorSpec], metadata: Mapping[str, str] | None = None
    ) -> None:
        self._path = path
        self._specs = dict(specs)
        header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
        end = 0
        # The header comes first and holds every offset, so all shapes are needed before the first value.
        for name, spec in specs.items():
            begin, end = end, end + spec.size_bytes
            header[name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        # The format: the header's length in 8 bytes, the header, then all data.
        self._head = len(text).to_bytes(8, "little") + text
        self.total_bytes = len(self._head) + end
        self._missing = list(reversed(self._specs))  # names still to be written, the next one last
        self._file: BinaryIO  # open inside the ``with`` block only

    def __enter__(self) -> SafetensorsWriter:
        """Open the file and write the header."""
        self._file = self._path.open("wb")
        self._file.write(self._head)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file.

        Raises:
            ValueError: when a tensor is missing and the block raised nothing.
        """
        self._file.close()
        if error is None and self._missing:
            raise ValueError(
                f"expected {len(self._missing)} more tensors, next {self._missing[-1]}, got none"
            )

    def flush(self) -> None:
        """Sync the file to disk, so that a rename that follows survives a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Append the data of the next tensor, C-contiguous and little-endian.

        Raises:
            ValueError: when another tensor is due, or the data have another length.
        """
        if not self._missing or self._missing[-1] != name:
            raise ValueError(
                f"expected {self._missing[-1] if self._missing else 'no more tensors'}, got {name}"
            )
        given_bytes = data.nbytes if isinstance(data, memoryview) else len(data)
        if given_bytes != self._specs[name].size_bytes:
            raise ValueError(f"{name}: expected {self._specs[name].size_bytes:,} bytes, got {given_bytes:,}")
        self._file.write(data)
        self._missing.pop()
