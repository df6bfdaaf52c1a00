"""Brings the language model into memory, in the model's thread."""

from __future__ import annotations

import mlx.core as mx
from mlx.utils import tree_flatten
from moshi_mlx.models.lm import Lm

from engines.duplex import EngineUnavailable, Progress
from engines.moshi.checkpoint import Checkpoint
from engines.moshi.language_model import build

REPORT_BYTES = 10**9  # from one line of progress to the next


def load_language_model(checkpoint: Checkpoint, progress: Progress) -> Lm:
    """Build the model and read all of its weights, so that no call has to wait for the disk.

    Raises:
        EngineUnavailable: when the file cannot be read or does not fit into memory.
    """
    model = build(checkpoint.config, checkpoint.quantization)
    try:
        model.load_weights(str(checkpoint.weights), strict=True)
        _evaluate(model, progress)
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"{checkpoint.weights} cannot be loaded: {error}") from error
    except (RuntimeError, MemoryError) as error:
        raise EngineUnavailable(
            f"{checkpoint.weights} cannot be brought into memory ({error}); "
            "take a smaller one with --quantize 4, or close other programs."
        ) from error
    return model


def _evaluate(model: Lm, progress: Progress) -> None:
    arrays = list(dict(tree_flatten(model.parameters())).values())
    total_bytes = sum(array.nbytes for array in arrays)
    done_bytes = 0
    for array in arrays:
        mx.eval(array)
        before_bytes, done_bytes = done_bytes, done_bytes + array.nbytes
        if done_bytes // REPORT_BYTES > before_bytes // REPORT_BYTES:
            progress(
                f"Moshi's language model: {done_bytes / 1e9:.1f} of {total_bytes / 1e9:.1f} GB in memory."
            )
