"""Writes files as ``torch.save`` does, without torch: valid ones, and malicious ones."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

VALUES = np.arange(24, dtype="<f4")


class Global:
    """Pickled as the name of a global."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Called:
    """Pickled as the call of a global."""

    def __init__(self, what: Any, *arguments: Any) -> None:
        self.what, self.arguments = what, arguments


class Stored:
    """Pickled as a reference to a storage."""

    def __init__(self, *pid: Any) -> None:
        self.pid = pid


class Pickler(pickle._Pickler):
    """Writes torch's pickles without torch."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())  # type: ignore[attr-defined]
        elif isinstance(obj, Called):
            self.save(obj.what)
            self.save(obj.arguments)
            self.write(b"R")  # type: ignore[attr-defined]
        elif isinstance(obj, Stored):
            self.save(obj.pid)
            self.write(b"Q")  # type: ignore[attr-defined]
        else:
            super().save(obj, save_persistent_id)  # type: ignore[misc]


REBUILD = Global("torch._utils", "_rebuild_tensor_v2")
HOOKS = Called(Global("collections", "OrderedDict"))


def tensor(
    size: Any = (2, 3),
    stride: Any = (3, 1),
    *,
    offset: Any = 0,
    kind: str = "FloatStorage",
    key: Any = "0",
    length: Any = 24,
    hooks: Any = HOOKS,
) -> Called:
    storage = Stored("storage", Global("torch", kind), key, "cpu", length)
    return Called(REBUILD, storage, offset, size, stride, False, hooks)


def pickled(content: Any) -> bytes:
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(content)
    return buffer.getvalue()


def write(
    path: Path,
    content: Any,
    *,
    data: bytes = VALUES.tobytes(),
    compression: int = zipfile.ZIP_STORED,
    order: bytes = b"little",
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("v/data.pkl", content if isinstance(content, bytes) else pickled(content))
        archive.writestr("v/byteorder", order)
        archive.writestr("v/data/0", data)
        archive.writestr("v/version", b"3\n")
    return path
