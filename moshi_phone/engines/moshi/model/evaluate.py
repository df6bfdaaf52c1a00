"""Loading of a model's weights into memory, with a check for non-finite values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.vendor.moshi_mlx.models.lm import Lm

REPORT_BYTES = 10**9  # between two progress lines


@contextmanager
def loading(weights: Path, remedy: str) -> Iterator[None]:
    """Report what mlx raises while a model's file is loaded.

    Args:
        weights: the file's path.
        remedy: what to do if it does not fit into memory, as the end of a sentence.

    Raises:
        EngineUnavailable: when the file cannot be read or does not fit into memory.
    """
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise EngineUnavailable(f"{weights} cannot be loaded: {error}") from error
    except (RuntimeError, MemoryError) as error:
        raise EngineUnavailable(
            f"{weights} cannot be brought into memory ({error}); {remedy}, or close other programs."
        ) from error


def evaluate(weights: Path, model: Lm, progress: Progress | None = None) -> None:
    """Read a model's whole file, so that no call waits for the disk. Runs in the model's thread.

    Args:
        weights: the file's path, for messages.
        model: holds the weights lazily, not yet read.
        progress: receives progress lines.

    Raises:
        EngineUnavailable: when a value is not finite; the model would generate noise.
    """
    arrays: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    total_bytes = sum(array.nbytes for array in arrays.values())
    done_bytes = 0
    for name, array in arrays.items():
        is_finite = mx.isfinite(array).all() if mx.issubdtype(array.dtype, mx.floating) else mx.array(True)
        # One tensor at a time, so that progress can be reported.
        mx.eval(array, is_finite)
        if not is_finite.item():
            raise EngineUnavailable(
                f"{weights}: the tensor {name} holds values that are not finite, so the file is of no use; "
                "fetch or make it again, or take another --model."
            )
        before_bytes, done_bytes = done_bytes, done_bytes + array.nbytes
        if progress is not None and done_bytes // REPORT_BYTES > before_bytes // REPORT_BYTES:
            progress(
                f"Moshi's language model: {done_bytes / 1e9:.1f} of {total_bytes / 1e9:.1f} GB in memory."
            )
