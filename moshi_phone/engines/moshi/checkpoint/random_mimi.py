"""A Mimi file with random values under the right names and shapes, for ``bench``.

Mimi's architecture is fixed, so the file is full size (385 MB) and takes as long to run as the real one;
only its speech is noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from moshi_phone.engines.moshi.checkpoint.mimi_layout import mimi_shapes

# The first lets the tokens follow the sound that is encoded, the second sets the level of what is decoded.
GAINS = {
    "encoder.model.0.conv.conv.weight": np.float32(30.0),
    "decoder.model.14.conv.conv.weight": np.float32(0.1),
}


def write_random_mimi(path: Path, *, seed: int = 0) -> Path:
    """Write such a file; the same seed gives the same values.

    Weights are scaled by their fan-in, so that a frame comes out of the decoder at the level of speech.
    """
    rng = np.random.default_rng(seed)
    save_file({name: _values(name, shape, rng) for name, shape in mimi_shapes().items()}, path)
    return path


def _values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    if name.endswith(("norm1.weight", "norm2.weight", "cluster_usage", "_initialized")):
        return np.ones(shape, np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    if name.endswith(".scale"):
        return np.full(shape, 0.01, np.float32)
    values = rng.standard_normal(shape, np.float32)
    values *= GAINS.get(name, np.float32(1.0))
    if name.endswith("embedding_sum"):
        return values
    if ".convtr." in name:  # [in, out / groups, kernel]; two kernel positions reach each sample
        return values / np.float32(np.sqrt(2 * (1 if shape[1] == 1 else shape[0])))
    return values / np.float32(np.sqrt(np.prod(shape[1:])))
