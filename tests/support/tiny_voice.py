"""A random voice for a tiny PersonaPlex, in the format that NVIDIA's code saves."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.support.torch_files import pickled, tensor

CODEBOOKS, SLOTS, CARD, PADDING = 16, 4, 2048, 3


def write_voice(path: Path, weights: Path, *, frames: int = 9, seed: int = 0) -> Path:
    """Write ``NAME.pt``.

    Args:
        path: the file.
        weights: of the model, in NVIDIA's layout, float32.
        frames: how long the voice speaks.
        seed: the same seed gives the same voice.
    """
    tables = load_file(weights)
    rng = np.random.default_rng(seed)
    columns = np.concatenate(
        [np.full((1, frames), PADDING), rng.integers(0, CARD, (CODEBOOKS, frames))]
    )  # by the step of NVIDIA's generator that was given them
    starts = np.array([len(tables["text_emb.weight"]) - 1, *[CARD] * CODEBOOKS])
    delays = np.array([0] + ([0] + [1] * 7) * 2)
    cache = np.tile(starts[:, None], SLOTS)
    for row, delay in enumerate(delays):
        for slot in range(1, frames + delay):  # slot 0 keeps the start tokens
            if slot - delay >= 1:
                cache[row, slot % SLOTS] = columns[row, slot - delay]
    embeddings = np.zeros((frames - 1, 1, 1, tables["text_emb.weight"].shape[1]), np.float32)
    for position in range(frames - 1):
        for row, delay in enumerate(delays):
            index = position - delay  # the step whose tokens this position reads
            token = columns[row, index] if index >= 1 else starts[row]
            table = tables["text_emb.weight"] if row == 0 else tables[f"emb.{row - 1}.weight"]
            embeddings[position, 0, 0] += table[token]
    content = {
        "embeddings": tensor(embeddings.shape, _strides(embeddings), length=embeddings.size),
        "cache": tensor(
            (1, *cache.shape), (cache.size, SLOTS, 1), kind="LongStorage", key="1", length=cache.size
        ),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("voice/data.pkl", pickled(content))
        archive.writestr("voice/data/0", embeddings.tobytes())
        archive.writestr("voice/data/1", cache.astype("<i8").tobytes())
    return path


def _strides(array: np.ndarray) -> tuple[int, ...]:
    return tuple(stride // array.itemsize for stride in array.strides)
