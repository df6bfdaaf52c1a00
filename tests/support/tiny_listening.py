"""A tiny speech-to-text model of Kyutai's kind, with random values from numpy, the same on every machine.

``listening_golden.json`` beside the tests holds the output of Kyutai's PyTorch code; this writes it again, in
a separate environment (``pip install torch==2.13.0 moshi==0.2.13 numpy``), from the repository's root:
``python -m tests.support.tiny_listening``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

CODEBOOKS, CARD, TEXT_CARD, DIM, LAYERS, CONTEXT, HEADS, CLASSES = 32, 64, 100, 64, 2, 16, 4, 6
FRAMES = 400
GOLDEN = Path(__file__).parents[1] / "engines" / "moshi" / "listening_golden.json"


def listening_config(**changes: Any) -> dict[str, Any]:
    """Return a ``config.json`` like Kyutai's, for a small model."""
    return {
        "card": CARD,
        "n_q": CODEBOOKS,
        "dep_q": 0,
        "delays": [0] * (1 + CODEBOOKS),
        "dim": DIM,
        "text_card": TEXT_CARD,
        "num_heads": 2,
        "num_layers": LAYERS,
        "causal": True,
        "layer_scale": None,
        "context": CONTEXT,
        "max_period": 100000,
        "positional_embedding": "rope",
        "depformer_dim": DIM,
        "depformer_num_heads": 2,
        "depformer_num_layers": 1,
        "depformer_dim_feedforward": 4 * DIM,
        "depformer_pos_emb": "none",
        "extra_heads_num_heads": HEADS,
        "extra_heads_dim": CLASSES,
        "stt_config": {"audio_delay_seconds": 0.5, "audio_silence_prefix_seconds": 0.0},
        **changes,
    }


def listening_weights(seed: int = 0, card: int = CARD) -> dict[str, NDArray[np.float32]]:
    """Return values by moshi_mlx's names, float32, scaled so that the text varies as a real one's does."""
    rng = np.random.default_rng(seed)
    hidden = 11 * DIM // 4
    shapes = {
        "text_emb.weight": (TEXT_CARD + 1, DIM),
        "text_linear.weight": (TEXT_CARD, DIM),
        **{f"audio_embs.{book}.weight": (card + 1, DIM) for book in range(CODEBOOKS)},
        **{f"extra_heads.{head}.weight": (CLASSES, DIM) for head in range(HEADS)},
    }
    for layer in range(LAYERS):
        at = f"transformer.layers.{layer}"
        shapes[f"{at}.self_attn.in_proj.weight"] = (3 * DIM, DIM)
        shapes[f"{at}.self_attn.out_proj.weight"] = (DIM, DIM)
        shapes[f"{at}.gating.linear_in.weight"] = (2 * hidden, DIM)
        shapes[f"{at}.gating.linear_out.weight"] = (DIM, hidden)
    values = {
        name: rng.standard_normal(shape, np.float32) * np.float32(1 if "emb" in name else shape[-1] ** -0.5)
        for name, shape in shapes.items()
    }
    norms = ["out_norm", *(f"transformer.layers.{n}.norm{k}" for n in range(LAYERS) for k in (1, 2))]
    return values | {f"{name}.weight": np.ones(DIM, np.float32) for name in norms}


def caller(frames: int = FRAMES, seed: int = 1) -> NDArray[np.uint32]:
    """Return a caller's tokens, uint32 ``[frames, 32]``."""
    return np.random.default_rng(seed).integers(0, CARD, (frames, CODEBOOKS)).astype(np.uint32)


def pytorch_names(weights: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Return the same values with the names and shapes of Kyutai's PyTorch files."""
    theirs = {}
    for name, value in weights.items():
        their_name = name.replace("audio_embs.", "emb.").replace("in_proj.weight", "in_proj_weight")
        if "norm" in name:
            theirs[their_name.replace(".weight", ".alpha")] = value[None, None]
        else:
            theirs[their_name] = value
    return theirs


def write_tiny_listening(folder: Path, *, pytorch: bool = False, **changes: Any) -> Path:
    """Write a whole checkpoint in the layout of Kyutai's repos, without Mimi; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = listening_config(tokenizer_name="tokenizer.model", moshi_name="model.safetensors", **changes)
    (folder / "config.json").write_text(json.dumps(config))
    weights = listening_weights(card=config["card"])
    if config["extra_heads_num_heads"] == 0:
        weights = {name: value for name, value in weights.items() if "extra_heads" not in name}
    save_file(pytorch_names(weights) if pytorch else weights, folder / "model.safetensors")
    from moshi_phone.commands.random_model import write_tiny_tokenizer  # noqa: PLC0415 - not there beside PyTorch

    write_tiny_tokenizer(folder / "tokenizer.model", TEXT_CARD)
    return folder


def write_golden(path: Path) -> None:
    """Run Kyutai's PyTorch code; it replaces its first frame by start tokens, so 399 are compared."""
    import torch  # type: ignore[import-not-found] # noqa: PLC0415 - not there in the project's environment
    from moshi.models.lm import LMGen, LMModel  # type: ignore[import-not-found] # noqa: PLC0415

    model = LMModel(
        delays=[0] * (1 + CODEBOOKS),
        n_q=CODEBOOKS,
        dep_q=0,
        card=CARD,
        text_card=TEXT_CARD,
        dim=DIM,
        num_heads=2,
        num_layers=LAYERS,
        hidden_scale=4.125,
        norm="rms_norm_f32",
        causal=True,
        context=CONTEXT,
        max_period=100000,
        gating="silu",
        positional_embedding="rope",
        extra_heads_num_heads=HEADS,
        extra_heads_dim=CLASSES,
        dtype=torch.float32,
    ).eval()
    theirs = {name: torch.from_numpy(value) for name, value in pytorch_names(listening_weights()).items()}
    missing, unexpected = model.load_state_dict(theirs, strict=False)
    assert not unexpected, unexpected
    assert all("depformer" in name for name in missing), missing
    generator = LMGen(model, use_sampling=False, temp=0.0, temp_text=0.0)
    text, heads = [], []
    with torch.no_grad(), generator.streaming(1):
        for frame in caller():
            codes = torch.from_numpy(frame.astype(np.int64))[None, :, None]
            tokens, probabilities = generator.step_with_extra_heads(codes)
            text.append(int(tokens[0, 0, 0]))
            heads.append([round(float(head[0, 0, 0]), 5) for head in probabilities])
    path.write_text(json.dumps({"text": text[1:], "first_classes": heads[1::20]}) + "\n")


if __name__ == "__main__":
    write_golden(GOLDEN)
