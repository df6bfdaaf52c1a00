"""Conversion of weights from PyTorch's layout to MLX files, and the cache of the results.

One tensor is in memory at a time, so a machine with less memory than the file's size can convert it. The
result is renamed into place when complete; the next run overwrites the partial file of an interrupted one.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import mlx.core as mx
import numpy as np
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined] # exported, but not listed in __all__
from mlx.utils import tree_flatten
from safetensors import SafetensorError, safe_open

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.moshi.checkpoint.checkpoint import PERSONAPLEX, WEIGHTS_NAMES
from moshi_phone.engines.moshi.checkpoint.hub import own_folder
from moshi_phone.engines.moshi.checkpoint.model_files import Unfit
from moshi_phone.engines.moshi.checkpoint.pytorch_layout import (
    Origin,
    expected_shapes,
    is_of_other_slice,
    is_pytorch_layout,
    origins,
    slices_in,
)
from moshi_phone.engines.moshi.checkpoint.safetensors_writer import SafetensorsWriter, TensorSpec
from moshi_phone.engines.moshi.checkpoint.tensor_shapes import Damaged, OtherLayout, check_shapes, read_shapes
from moshi_phone.engines.moshi.model.quantized_model import Quantization, build, quantization_named
from moshi_phone.vendor.moshi_mlx.models.lm import LmConfig

OURS = "moshi_phone.converted_from"  # header entry that marks a file written by this program
REPORT_BYTES = 10**9  # of the source, between two progress lines
PERSONAPLEX_SLICES = 16

_DTYPES = {mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16", mx.uint32: "U32"}


def convert(
    source: Path, target: Path, config: LmConfig, quantization: Quantization | None, progress: Progress
) -> None:
    """Convert ``source`` to ``target``. Runs in the model's thread.

    Args:
        source: PyTorch's file. Depformer slices beyond those of ``config`` are skipped.
        target: in an existing folder. A lock serializes processes that convert to the same target.
        config: the model's sizes.
        quantization: of the target; None keeps the source's dtype.
        progress: receives progress lines.

    Raises:
        Damaged: when the source is truncated or damaged.
        OtherLayout: when the source is another model's, or of other sizes.
        EngineUnavailable: when the target cannot be written, or the disk has no room for it.
    """
    with WeakFileLock(target.with_name(f"{target.name}.lock")):
        if converted_from(target) == stamp(source):
            return  # another process made it while this one waited for the lock
        part = target.with_name(f"{target.name}.incomplete")
        try:
            _convert(source, part, config, quantization, progress)
        except OSError as error:
            raise EngineUnavailable(
                f"{target} cannot be written ({error.strerror or error}); free some space, "
                "or set HF_HOME to a folder on a larger disk."
            ) from error
        part.replace(target)
        progress(f"Converted: {target}.")


def _convert(
    source: Path, part: Path, config: LmConfig, quantization: Quantization | None, progress: Progress
) -> None:
    plan = _Plan(source, config, quantization)
    with SafetensorsWriter(part, plan.specs, plan.metadata) as file:
        _check_room(part, file.total_bytes)
        progress(f"Converting {source.name} to {file.total_bytes / 1e9:.1f} GB; this is done once.")
        done_bytes = 0
        for read_bytes, values in plan.tensors():
            for name, value in values:
                file.write(name, _bytes_of(value))
            before_bytes, done_bytes = done_bytes, done_bytes + read_bytes
            if done_bytes // REPORT_BYTES > before_bytes // REPORT_BYTES:
                progress(f"Converted {done_bytes / 1e9:.1f} of {source.stat().st_size / 1e9:.1f} GB.")
        file.flush()


class _Plan:
    """The tensors to write, in the source's order, so that each source tensor is read once."""

    def __init__(self, source: Path, config: LmConfig, quantization: Quantization | None) -> None:
        whole = {name: tuple(array.shape) for name, array in _parameters(config, None).items()}
        found = read_shapes(source)
        schedule = config.depformer.weights_per_step_schedule
        origin_of = origins(whole, found, schedule)
        self._slices = slices_in(found)
        self._parts = self._slices if schedule is None else max(schedule) + 1
        expected = expected_shapes(whole, origin_of, self._parts)
        check_shapes(found, expected)
        # With a schedule, slices share weights, so any slice's own may be unused.
        slices = config.depformer.num_slices if schedule is None else 0
        if surplus := sorted(n for n in found.keys() - expected.keys() if not is_of_other_slice(n, slices)):
            raise OtherLayout(f"the tensor {surplus[0]} belongs to another model")
        self._source = source
        self._quantization = quantization
        self._packed = _parameters(config, quantization)  # shapes and dtypes of the output
        self._tensors = cast(
            "dict[str, mx.array]", mx.load(str(source))
        )  # lazy: a tensor is read on first use
        # Grouped by source tensor: each is read once, and freed before the next.
        self._wanted: dict[str, list[tuple[str, Origin]]] = {}
        for name in sorted(whole, key=lambda name: (origin_of[name].name, origin_of[name].part or 0)):
            self._wanted.setdefault(origin_of[name].name, []).append((name, origin_of[name]))

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata for the target's header."""
        personaplex = {"model_type": PERSONAPLEX} if self._slices == PERSONAPLEX_SLICES else {}
        return {"format": "mlx", OURS: stamp(self._source)} | personaplex

    @property
    def specs(self) -> dict[str, TensorSpec]:
        """Dtype and shape of every target tensor, in order."""
        specs = {}
        for source_name, wanted in self._wanted.items():
            own = _DTYPES[self._tensors[source_name].dtype]
            for part in (part for name, _ in wanted for part in self._names(name)):
                array = self._packed[part]
                specs[part] = TensorSpec("U32" if array.dtype == mx.uint32 else own, tuple(array.shape))
        return specs

    def tensors(self) -> Iterator[tuple[int, list[tuple[str, mx.array]]]]:
        """Yield each source tensor's size in bytes and the target tensors made from it. Call it once."""
        for source_name, wanted in self._wanted.items():
            tensor = self._tensors.pop(source_name)
            values = [value for name, origin in wanted for value in self._pack(name, tensor, origin)]
            yield tensor.nbytes, values
            # Frees it before the next read; mlx would otherwise keep the memory in its cache.
            del tensor, values
            mx.clear_cache()

    def _pack(self, name: str, tensor: mx.array, origin: Origin) -> list[tuple[str, mx.array]]:
        value, parts = _cut(tensor, origin, self._parts), self._names(name)
        if self._quantization is None or len(parts) == 1:
            return [(name, value)]
        quantization = self._quantization.of(name)
        packed = mx.quantize(value, group_size=quantization.group_size, bits=quantization.bits)
        return list(zip(parts, packed, strict=True))

    def _names(self, name: str) -> list[str]:
        """Return the names of a tensor's parts: a quantized ``NAME.weight`` also has scales and biases."""
        stem = name.removesuffix("weight")
        return [name, *(part for part in (f"{stem}scales", f"{stem}biases") if part in self._packed)]


def _parameters(config: LmConfig, quantization: Quantization | None) -> dict[str, mx.array]:
    """Return the model's parameters by name; lazy, so nothing is computed or allocated."""
    return dict(tree_flatten(build(config, quantization).parameters()))


def _cut(tensor: mx.array, origin: Origin, parts: int) -> mx.array:
    if origin.is_norm:
        return tensor[0, 0]
    if origin.part is None:
        return tensor
    # Slices are stacked along the first axis.
    rows = tensor.shape[0] // parts
    return tensor[origin.part * rows : (origin.part + 1) * rows]


def _bytes_of(array: mx.array) -> memoryview:
    if array.dtype == mx.bfloat16:  # numpy has no such type
        array = array.view(mx.uint16)
    return np.ascontiguousarray(np.array(array)).data.cast("B")


def _check_room(part: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(part.parent).free
    if free_bytes < needed_bytes:
        raise EngineUnavailable(
            f"Converting the weights needs {needed_bytes / 1e9:.1f} GB in {part.parent}, and "
            f"{free_bytes / 1e9:.1f} GB are free; free some space, or set HF_HOME to a larger disk."
        )


SOURCE_NAMES = ("model.safetensors", "consolidated.safetensors")  # the first is also MLX's
CONVERTED_NAMES = WEIGHTS_NAMES | {"none": "model.bf16.safetensors"}


def stamp(source: Path) -> str:
    """Return a file's name, size and modification time, for the header of its converted file."""
    about = source.stat()
    return f"{source.name} {about.st_size} {about.st_mtime_ns}"


def converted_from(path: Path) -> str | None:
    """Return the source's ``stamp`` from a converted file; None if this program did not write it."""
    return _metadata(path).get(OURS)


def converted(
    source: Path, folders: Sequence[Path], config: LmConfig, quantize: str, progress: Progress
) -> Path:
    """Return the converted file of a source; convert it first if necessary.

    Args:
        source: PyTorch's file.
        folders: candidate folders, the preferred one first.
        config: the model's sizes.
        quantize: as for ``quantization_named``.
        progress: receives progress lines.

    Raises:
        Unfit: when the source cannot be used.
        EngineUnavailable: when the disk is full, or no folder is writable.
    """
    if (found := find_converted(source, folders, quantize)) is not None:
        return found
    error: OSError | None = None
    for folder in folders:
        target = folder / CONVERTED_NAMES[quantize]
        if target.exists() and converted_from(target) is None and not folder.is_relative_to(own_folder()):
            continue  # the user's file: not overwritten
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
            convert(source, target, config, quantization_named(quantize), progress)
        except Damaged as damage:
            raise Unfit(source, str(damage), is_damaged=True) from damage
        except OtherLayout as other:
            raise Unfit(source, str(other)) from other
        except OSError as raised:  # not writable: try the next folder
            error = raised
        else:
            return target
    why = "another file is there" if error is None else error.strerror or str(error)
    raise EngineUnavailable(
        f"{folders[-1] / CONVERTED_NAMES[quantize]} cannot be written ({why}); "
        "set HF_HOME to a folder that can be written to."
    ) from error


def find_converted(source: Path | None, folders: Sequence[Path], quantize: str) -> Path | None:
    """Return a source's converted file if it exists; without a source, any converted file."""
    for folder in folders:
        target = folder / CONVERTED_NAMES[quantize]
        made_of = converted_from(target)
        if made_of is not None and (source is None or made_of == stamp(source)):
            return target
    return None


def holds_personaplex(path: Path) -> bool:
    """Whether a file holds PersonaPlex, from a converted file's header or PyTorch's 16 slices."""
    try:
        names = read_shapes(path)
    except (Damaged, OSError):
        return False
    return _metadata(path).get("model_type") == PERSONAPLEX or slices_in(names) == PERSONAPLEX_SLICES


def is_for_pytorch(path: Path) -> bool:
    """Whether a file has PyTorch's layout. False for a damaged file, which a later check reports."""
    try:
        return path.is_file() and is_pytorch_layout(read_shapes(path))
    except (Damaged, OSError):
        return False


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}
