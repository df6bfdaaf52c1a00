"""Kyutai's own server with a tiny random Moshi, on a CPU; run by ``benchmarks.kyutai_server``.

It runs in a separate environment, with ``moshi`` 0.2.13 and PyTorch, and without this program:
``python kyutai_child.py FOLDER PORT``. FOLDER holds Mimi and the tokenizer; the model is written into it.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

SIZES = {
    "dim": 128,
    "text_card": 200,
    "existing_text_padding_id": 3,
    "n_q": 16,
    "dep_q": 8,
    "card": 2048,
    "num_heads": 4,
    "num_layers": 2,
    "hidden_scale": 4.125,
    "causal": True,
    "layer_scale": None,
    "context": 3000,
    "max_period": 10000,
    "gating": "silu",
    "norm": "rms_norm_f32",
    "positional_embedding": "rope",
    "depformer_dim": 128,
    "depformer_dim_feedforward": 512,
    "depformer_num_heads": 4,
    "depformer_num_layers": 1,
    "depformer_layer_scale": None,
    "depformer_multi_linear": True,
    "depformer_context": 8,
    "depformer_max_period": 10000,
    "depformer_gating": "silu",
    "depformer_pos_emb": "none",
    "depformer_weights_per_step": True,
    "delays": [0, *([0] + [1] * 7) * 2],
}


def main(folder: Path, port: str) -> None:
    """Write the model, and serve it until the process is ended."""
    os.environ |= {"NO_TORCH_COMPILE": "1", "NO_CUDA_GRAPH": "1"}  # both are useless on a CPU
    import torch  # type: ignore[import-not-found]  # noqa: PLC0415 - after the environment
    from moshi.models.lm import LMModel  # type: ignore[import-not-found]  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    torch.manual_seed(0)
    weights, config = folder / "model.safetensors", folder / "config.json"
    save_file(LMModel(device="cpu", dtype=torch.bfloat16, **SIZES).state_dict(), weights)
    config.write_text(json.dumps(SIZES))
    torch.cuda.synchronize = lambda: None  # the server's warm-up calls it, also on a CPU
    sys.argv = ["moshi.server", "--host", "127.0.0.1", "--port", port, "--static", "none", "--device", "cpu"]
    sys.argv += ["--moshi-weight", str(weights), "--config-path", str(config)]
    sys.argv += ["--mimi-weight", str(folder / "mimi.safetensors")]
    sys.argv += ["--tokenizer", str(folder / "tokenizer.model")]
    runpy.run_module("moshi.server", run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
