"""The files of a listening model, from a folder, the hub's cache or the hub, with checks.

The layout is that of Kyutai's ``stt-…-mlx`` repos. Their Mimi file equals Moshi's, so it is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mlx.utils import tree_flatten

from moshi_phone.engines.duplex import Progress
from moshi_phone.engines.moshi.checkpoint.checkpoint import (
    CONFIG_NAME,
    check_against,
    check_no_adapter,
    load_tokenizer,
    quantization_of,
    shapes_of,
)
from moshi_phone.engines.moshi.checkpoint.config_file import (
    check_supported,
    config_entries,
    file_name,
    read_config,
)
from moshi_phone.engines.moshi.checkpoint.hub import DOWNLOAD, HubRepo
from moshi_phone.engines.moshi.checkpoint.model_files import ModelFiles, Unfit
from moshi_phone.engines.moshi.checkpoint.pytorch_layout import expected_shapes, is_pytorch_layout, origins
from moshi_phone.engines.moshi.checkpoint.tensor_shapes import Shapes
from moshi_phone.engines.moshi.codec.codec import LISTENING_CODEBOOKS
from moshi_phone.engines.moshi.model.quantized_model import Quantization, build
from moshi_phone.engines.options import EngineOptions
from moshi_phone.vendor.moshi_mlx.models.lm import LmConfig

LISTENING_DOWNLOAD = f"{DOWNLOAD} --listen"
DEFAULT_REPO = "kyutai/stt-1b-en_fr-mlx"
WEIGHTS_NAME = "model.safetensors"
EXTRA_HEAD = re.compile(r"extra_heads\.\d+\.weight")
# A file without a depformer may omit its sizes, but moshi_mlx requires them.
_WITHOUT_DEPFORMER = {
    "depformer_dim": 32,
    "depformer_num_heads": 1,
    "depformer_num_layers": 0,
    "depformer_dim_feedforward": 0,
    "depformer_pos_emb": "none",
}
FindFile = Callable[[str], Path | None]


@dataclass(frozen=True)
class ListeningCheckpoint:
    """The files of a listening model.

    Attributes:
        weights: file of the language model.
        tokenizer: file of its text tokenizer.
        config: its sizes.
        quantization: of the weights; None if they are not quantized.
        from_pytorch: whether the weights have PyTorch's layout.
        audio_delay_s: delay of the text after the audio.
        silence_s: length of the silence that the model expects before the caller's audio.
    """

    weights: Path
    tokenizer: Path
    config: LmConfig
    quantization: Quantization | None
    from_pytorch: bool
    audio_delay_s: float
    silence_s: float


def stt_1b() -> LmConfig:
    """Return the sizes of Kyutai's ``stt-1b-en_fr``, for benchmarks without its files."""
    return LmConfig.from_config_dict(
        _WITHOUT_DEPFORMER
        | {
            "card": 2048,
            "n_q": LISTENING_CODEBOOKS,
            "dep_q": 0,
            "delays": [0] * (1 + LISTENING_CODEBOOKS),
            "dim": 2048,
            "text_card": 8000,
            "num_heads": 16,
            "num_layers": 16,
            "causal": True,
            "layer_scale": None,
            "context": 750,
            "max_period": 100000,
            "positional_embedding": "rope",
        }
    )


def find_listening(
    options: EngineOptions, progress: Progress, *, repair: bool = False
) -> ListeningCheckpoint:
    """Find the files selected by the options, fetch missing ones, and check all.

    Args:
        options: ``listen_model`` selects the model.
        progress: receives a line for each file found or fetched.
        repair: fetch damaged files of the hub again, instead of raising.

    Raises:
        EngineUnavailable: with a sentence that names the file and the remedy.
    """
    files = _files(options)
    if (folder := files.folder) is not None:
        progress(f"The listening model comes from {folder}.")
        return _in_folder(files, folder)
    hub = _hub(files, progress)

    def fetch() -> ListeningCheckpoint:
        checkpoint = _read(hub.get)
        assert checkpoint is not None  # noqa: S101 - for mypy: hub.get gives None only if optional
        return checkpoint

    checkpoint = files.read_repo(hub, lambda: _read(hub.cached), fetch, repair=repair)
    progress(f"The listening model is that of {hub.name}.")
    return checkpoint


def cached_listening(options: EngineOptions) -> ListeningCheckpoint | None:
    """Return the files if all are on this machine; None if one is missing.

    Raises:
        EngineUnavailable: when a file is damaged.
    """
    files = _files(options)
    if (folder := files.folder) is not None:
        return _in_folder(files, folder)
    hub = _hub(files, lambda _: None)
    return files.read_cached(lambda: _read(hub.cached))


def _files(options: EngineOptions) -> ModelFiles:
    return ModelFiles(
        options.listen_model, "--listen-model", lambda: DEFAULT_REPO, DEFAULT_REPO, LISTENING_DOWNLOAD
    )


def _hub(files: ModelFiles, progress: Progress) -> HubRepo:
    return HubRepo(files.repo, progress, option=files.option, download=files.download)


def _in_folder(files: ModelFiles, folder: Path) -> ListeningCheckpoint:
    def read() -> ListeningCheckpoint:
        checkpoint = _read(partial(files.required, folder))
        assert checkpoint is not None  # noqa: S101 - for mypy: what is missing raises
        return checkpoint

    return files.read_folder(read)


def _read(find_file: FindFile) -> ListeningCheckpoint | None:
    """Check the files, the small ones first; None if one is not found."""
    if (config_file := find_file(CONFIG_NAME)) is None:
        return None
    data = read_config(config_file)
    config = _sizes(config_file, data)
    audio_delay_s, silence_s, weights_name = _timing_and_weights(config_file, data)
    names = (_tokenizer_name(config_file, data), weights_name)
    tokenizer, weights = (find_file(name) for name in names)
    if tokenizer is None or weights is None:
        return None
    pieces = load_tokenizer(tokenizer).get_piece_size()
    if pieces < config.text_out_vocab_size:
        raise Unfit(tokenizer, f"expected {config.text_out_vocab_size} pieces, got {pieces}")
    shapes = shapes_of(weights)
    check_no_adapter(weights, shapes)
    config = _with_heads(config, shapes)
    from_pytorch = is_pytorch_layout(shapes)
    quantization = None if from_pytorch else quantization_of(weights, shapes, config)
    model = dict(tree_flatten(build(config, quantization).parameters()))
    expected = {name: tuple(array.shape) for name, array in model.items()}
    if from_pytorch:
        expected = expected_shapes(expected, origins(expected, shapes), parts=1)
    check_against(weights, shapes, expected)
    if surplus := sorted(shapes.keys() - expected.keys()):
        raise Unfit(weights, f"the tensor {surplus[0]} belongs to another model")
    return ListeningCheckpoint(
        weights,
        tokenizer,
        config,
        quantization,
        from_pytorch,
        audio_delay_s,
        silence_s,
    )


def _with_heads(config: LmConfig, shapes: Shapes) -> LmConfig:
    """Add the file's extra heads: Kyutai's ``config.json`` does not always list them."""
    heads = [shape for name, shape in shapes.items() if EXTRA_HEAD.fullmatch(name)]
    if not heads:
        return config
    return replace(config, extra_heads_num_heads=len(heads), extra_heads_dim=heads[0][0])


def _timing_and_weights(path: Path, data: dict[str, Any]) -> tuple[float, float, str]:
    timing = data.get("stt_config") or {}
    with config_entries(path):
        delay_s = float(timing.get("audio_delay_seconds", 0.5))
        silence_s = float(timing.get("audio_silence_prefix_seconds", 0.0))
        return delay_s, silence_s, file_name(data, "moshi_name") or WEIGHTS_NAME


def _tokenizer_name(path: Path, data: dict[str, Any]) -> str:
    if not isinstance(name := data.get("tokenizer_name"), str):
        raise Unfit(path, "the entry 'tokenizer_name' is missing")
    return name


def _sizes(path: Path, data: dict[str, Any]) -> LmConfig:
    with config_entries(path):
        sizes = LmConfig.from_config_dict(_WITHOUT_DEPFORMER | data)
    found = (
        sizes.audio_codebooks,
        sizes.generated_codebooks,
        len(sizes.audio_delays),
        any(sizes.audio_delays),
    )
    if found != (LISTENING_CODEBOOKS, 0, LISTENING_CODEBOOKS, False):
        raise Unfit(
            path,
            f"expected a model that listens, with n_q {LISTENING_CODEBOOKS}, dep_q 0 and no delays, "
            f"got n_q {found[0]}, dep_q {found[1]} and delays {sizes.audio_delays}",
        )
    check_supported(path, sizes)
    return sizes
