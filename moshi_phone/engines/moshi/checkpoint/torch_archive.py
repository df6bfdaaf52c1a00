"""Reader of tensors in ``torch.save`` files, without torch and without running code from the file.

Such a file is a zip archive of one pickle and the tensors' bytes. A pickle is a program: this reader allows
the few instructions that describe tensors and refuses all others. Format: torch/serialization.py.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moshi_phone.runtime.errors import first_line

Tensors = dict[str, NDArray[Any]]

PICKLE_LIMIT_BYTES = 64 * 1024  # a voice's pickle has 300 bytes
TENSORS_LIMIT_BYTES = 1 << 30
DIMENSIONS_LIMIT = 8

_OPCODES = frozenset(
    [
        *("PROTO", "STOP", "MARK", "GLOBAL", "BINPERSID", "REDUCE"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "NEWFALSE", "NEWTRUE"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    ]
)
_STORED: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),  # numpy has no such type: widened to float32 below
    "LongStorage": np.dtype("<i8"),
}
_KEY = re.compile(r"[0-9]{1,9}")


class NotTensors(Exception):
    """The file is not a ``torch.save`` file of tensors; the message gives the reason."""


@dataclass(frozen=True)
class _StorageType:
    """A storage type named in the pickle."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """One tensor's values: flat, of one dtype."""

    values: NDArray[Any]
    is_bfloat16: bool


def read_tensors(path: Path) -> Tensors:
    """Read a file that holds a dict of tensors by name.

    Returns:
        Arrays that own their memory: float32 (also for bfloat16), float16 or int64.

    Raises:
        NotTensors: when the file holds anything else, or a tensor exceeds its storage.
        OSError: when it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except zipfile.BadZipFile as error:
        raise NotTensors("it is no whole zip archive as torch.save has written them since 1.6") from error
    except (NotTensors, OSError):
        raise
    except Exception as error:  # zipfile and pickle raise many types for crafted input
        raise NotTensors(f"it cannot be read ({first_line(error)})") from error


def _read(archive: zipfile.ZipFile) -> Tensors:
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1 or len(entries) != len(archive.infolist()):
        raise NotTensors("expected one data.pkl and no name twice")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise NotTensors("expected stored entries, got compressed ones")
    if sum(entry.file_size for entry in entries.values()) > TENSORS_LIMIT_BYTES:
        raise NotTensors(f"expected at most {TENSORS_LIMIT_BYTES:,} bytes in it, got more")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise NotTensors("expected little-endian tensors, got another order")
    if entries[pickles[0]].file_size > PICKLE_LIMIT_BYTES:
        raise NotTensors(f"expected a pickle of at most {PICKLE_LIMIT_BYTES:,} bytes, got more")
    program = archive.read(pickles[0])
    _check_program(program)
    found = _TensorUnpickler(program, lambda key: _entry(archive, f"{root}data/{key}")).load()
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise NotTensors("expected tensors by name, got something else")
    for name, value in found.items():
        if not isinstance(value, np.ndarray):
            raise NotTensors(f"expected a tensor for {name!r}, got a {type(value).__name__.lstrip('_')}")
    return found


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except KeyError as error:
        raise NotTensors(f"its {name} is missing") from error


def _check_program(program: bytes) -> None:
    """Check every instruction of a pickle before running any."""
    for opcode, given, _ in pickletools.genops(program):
        argument: Any = given
        if opcode.name not in _OPCODES:
            raise NotTensors(f"its pickle has the instruction {opcode.name}, which no tensor needs")
        # pickle allocates its memo up to the largest index
        if opcode.name in ("BINPUT", "LONG_BINPUT") and int(argument) > len(program):
            raise NotTensors("its pickle counts more objects than it has")
        if opcode.name == "LONG1" and abs(int(argument)) >> 63:
            raise NotTensors("its pickle has a number of more than 64 bits")


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler restricted to tensors.

    Args:
        program: the pickle, checked.
        entry: returns the bytes of a storage by its key.
    """

    def __init__(self, program: bytes, entry: Callable[[str], bytes]) -> None:
        super().__init__(io.BytesIO(program))
        self._entry = entry

    def find_class(self, module: str, name: str, /) -> Any:
        if module == "torch" and name in _STORED:
            return _StorageType(name)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return _no_hooks
        raise NotTensors(f"it names {module}.{name}, which no tensor needs")

    def persistent_load(self, pid: Any, /) -> _Storage:
        kind, stored, key, location, length = pid
        if kind != "storage" or not isinstance(stored, _StorageType) or not isinstance(location, str):
            raise NotTensors("expected a storage, got another reference")
        if not isinstance(key, str) or not _KEY.fullmatch(key) or type(length) is not int:
            raise NotTensors("expected a storage with a number and a length")
        dtype, data = _STORED[stored.name], self._entry(key)
        if len(data) != length * dtype.itemsize:
            raise NotTensors(f"storage {key}: expected {length * dtype.itemsize:,} bytes, got {len(data):,}")
        return _Storage(np.frombuffer(data, dtype), stored.name == "BFloat16Storage")


def _no_hooks(*arguments: object) -> OrderedDict[str, Any]:
    if arguments:
        raise NotTensors("expected no hooks on a tensor, got some")
    return OrderedDict()


def _rebuild(  # noqa: PLR0917 - as torch has it
    storage: object, offset: object, size: object, stride: object, requires_grad: object, hooks: object
) -> NDArray[Any]:
    """Do the work of ``torch._utils._rebuild_tensor_v2``, with a check of the view's bounds."""
    if not isinstance(storage, _Storage) or not isinstance(requires_grad, bool) or hooks:
        raise NotTensors("expected a plain tensor, got another")
    if type(offset) is not int or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise NotTensors("expected a tensor with an offset, a size and a stride")
    if any(type(number) is not int for number in (*size, *stride)):
        raise NotTensors("expected whole numbers for size and stride")
    if len(size) != len(stride) or len(size) > DIMENSIONS_LIMIT or offset < 0 or min(size, default=1) < 1:
        raise NotTensors(f"expected sizes of at least 1 with a stride each, got {size} and {stride}")
    if min(stride, default=1) < 1:
        raise NotTensors(f"expected strides of at least 1, got {stride}")
    available = storage.values.size
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    # Overlapping strides would let a small storage expand to a tensor of any size.
    if last >= available or math.prod(size) > available:
        raise NotTensors(f"a tensor {size} with strides {stride} reaches beyond its {available:,} values")
    width = storage.values.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage.values[offset:], size, [step * width for step in stride], writeable=False
    )
    if storage.is_bfloat16:
        # bfloat16 is the upper half of float32.
        return (view.astype(np.uint32) << 16).view(np.float32)
    # A copy, so that the archive's bytes can be freed.
    return view.copy()
