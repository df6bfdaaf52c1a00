"""A tiny random PersonaPlex in NVIDIA's own layout: PyTorch's names, and 16 slices of the depformer.

It imports numpy and no framework, so the script that recorded ``personaplex_golden.npz`` could make
the same file in an environment with PyTorch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moshi_phone.engines.moshi.checkpoint.safetensors_writer import SafetensorsWriter, TensorSpec
from tests.support.tiny_config import tiny_config

SLICES = 16
CARD = 2048  # the silence and the sine that go with prompts are tokens of Mimi's


def personaplex_config(
    *, dim: int = 64, layers: int = 2, text_card: int = 100, context: int = 3000, depformer_layers: int = 2
) -> dict[str, Any]:
    """Return its ``config.json``, with sizes (NVIDIA's own has none)."""
    return tiny_config(
        dim=dim,
        layers=layers,
        depformer_layers=depformer_layers,
        context=context,
        text_card=text_card,
        card=CARD,
        slices=SLICES,
    )


def personaplex_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor of such a checkpoint."""
    dim, depth_dim = config["dim"], config["depformer_dim"]
    hidden, depth_hidden = 11 * dim // 4, 11 * depth_dim // 4
    shapes: dict[str, tuple[int, ...]] = {
        f"emb.{codebook}.weight": (config["card"] + 1, dim) for codebook in range(config["n_q"])
    }
    shapes["text_emb.weight"] = (config["text_card"] + 1, dim)
    shapes["text_linear.weight"] = (config["text_card"], dim)
    for layer in range(config["num_layers"]):
        at = f"transformer.layers.{layer}"
        shapes[f"{at}.self_attn.in_proj_weight"] = (3 * dim, dim)
        shapes[f"{at}.self_attn.out_proj.weight"] = (dim, dim)
        shapes[f"{at}.norm1.alpha"] = shapes[f"{at}.norm2.alpha"] = (1, 1, dim)
        shapes[f"{at}.gating.linear_in.weight"] = (2 * hidden, dim)
        shapes[f"{at}.gating.linear_out.weight"] = (dim, hidden)
    shapes["out_norm.alpha"] = (1, 1, dim)
    slices = config["dep_q"]
    for part in range(slices):
        shapes[f"depformer_in.{part}.weight"] = (depth_dim, dim)
        shapes[f"linears.{part}.weight"] = (config["card"], depth_dim)
    for part in range(slices - 1):
        shapes[f"depformer_emb.{part}.weight"] = (config["card"] + 1, depth_dim)
    shapes["depformer_text_emb.weight"] = (config["text_card"] + 1, depth_dim)
    for layer in range(config["depformer_num_layers"]):
        at = f"depformer.layers.{layer}"
        shapes[f"{at}.self_attn.in_proj_weight"] = (slices * 3 * depth_dim, depth_dim)
        shapes[f"{at}.self_attn.out_proj.weight"] = (slices * depth_dim, depth_dim)
        shapes[f"{at}.norm1.alpha"] = shapes[f"{at}.norm2.alpha"] = (1, 1, depth_dim)
        for part in range(slices):
            shapes[f"{at}.gating.{part}.linear_in.weight"] = (2 * depth_hidden, depth_dim)
            shapes[f"{at}.gating.{part}.linear_out.weight"] = (depth_dim, depth_hidden)
    return shapes


def write_personaplex(folder: Path, *, seed: int = 0, dtype: str = "F32", **config: int) -> Path:
    """Write ``model.safetensors`` and ``config.json`` as NVIDIA's repo has them.

    Args:
        folder: made if need be.
        seed: the same seed gives the same values.
        dtype: ``F32``, or ``BF16`` as the real one is (then values are cut to 16 bits).
        config: what ``personaplex_config`` takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = personaplex_config(**config)
    (folder / "config.json").write_text(json.dumps(settings, indent=2))
    shapes = personaplex_shapes(settings)
    rng = np.random.default_rng(seed)
    specs = {name: TensorSpec(dtype, shape) for name, shape in shapes.items()}
    with SafetensorsWriter(folder / "model.safetensors", specs) as file:
        for name, shape in shapes.items():
            values = _values(name, shape, rng)
            data = values if dtype == "F32" else (values.view(np.uint32) >> 16).astype(np.uint16)
            file.write(name, data.tobytes())
    return folder


def _values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    values = rng.standard_normal(shape, np.float32)
    if "norm" in name:
        return 1 + values / np.float32(10)
    return values if "emb" in name else values / np.float32(shape[-1] ** 0.5)
