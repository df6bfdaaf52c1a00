"""The files of a listening model, checked: found in a folder, in the hub's cache, or on the hub.

They are laid out as Kyutai's ``stt-…-mlx`` repos are. Their Mimi is the same file as Moshi's, so it is not
looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx.utils import tree_flatten

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.moshi.checkpoint.checkpoint import (
    CONFIG_NAME,
    Unfit,
    check_against,
    check_no_adapter,
    check_not_lora,
    load_tokenizer,
    quantization_of,
    shapes_of,
)
from moshi_phone.engines.moshi.checkpoint.hub import DOWNLOAD, HubRepo, is_repo
from moshi_phone.engines.moshi.checkpoint.pytorch_layout import expected_shapes, is_pytorch_layout, origins
from moshi_phone.engines.moshi.checkpoint.tensor_shapes import Shapes
from moshi_phone.engines.moshi.codec.codec import LISTENING_CODEBOOKS
from moshi_phone.engines.moshi.model.language_model import Quantization, build
from moshi_phone.engines.options import EngineOptions
from moshi_phone.vendor.moshi_mlx.models.lm import LmConfig

LISTENING_DOWNLOAD = f"{DOWNLOAD} --listen"
DEFAULT_REPO = "kyutai/stt-1b-en_fr-mlx"
WEIGHTS_NAME = "model.safetensors"
EXTRA_HEAD = re.compile(r"extra_heads\.\d+\.weight")
NOT_THIS = "the file is whole, but not one for this program"
# A file without a depformer may leave out its sizes; moshi_mlx wants them all the same.
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
        weights: of the language model.
        tokenizer: of its text.
        config: its sizes.
        quantization: how its weights are packed; None where they are not.
        from_pytorch: whether the weights are laid out as PyTorch's are.
        audio_delay_s: how long after the sound it writes.
        silence_s: how much silence it wants to hear before the caller.
    """

    weights: Path
    tokenizer: Path
    config: LmConfig
    quantization: Quantization | None
    from_pytorch: bool
    audio_delay_s: float
    silence_s: float


def stt_1b() -> LmConfig:
    """Give the sizes of Kyutai's smaller model, ``stt-1b-en_fr``, for measuring without its files."""
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
    """Find the files that the options name, fetch those that are missing, and check them.

    Args:
        options: ``listen_model`` counts.
        progress: hears what is found and what is fetched.
        repair: fetch damaged files of the hub anew, in place of complaining.

    Raises:
        EngineUnavailable: with a sentence that names the file and the remedy.
    """
    if (folder := _folder(options)) is not None:
        return _in_folder(folder, progress)
    hub = _hub(options, progress)
    repaired: set[str] = set()
    while True:
        try:
            checkpoint = _read(hub.cached)
            if checkpoint is None:
                checkpoint = _read(hub.get)
            assert checkpoint is not None  # noqa: S101 - for mypy: hub.get gives None only if optional
        except Unfit as error:
            file = error.path.name
            if file in repaired:
                raise EngineUnavailable(
                    f"{error}; {hub.name} holds it like this, try another --listen-model."
                ) from error
            if not repair:
                raise _unfit(error) from error
            if not hub.fetch_if_different(file):
                raise EngineUnavailable(
                    f"{error}; {hub.name} holds it like this, try another --listen-model."
                ) from error
            repaired.add(file)
        else:
            progress(f"The listening model is that of {hub.name}.")
            return checkpoint


def cached_listening(options: EngineOptions) -> ListeningCheckpoint | None:
    """Give the files if all are here; None where some would have to be fetched.

    Raises:
        EngineUnavailable: when a file that is here is damaged.
    """
    if (folder := _folder(options)) is not None:
        return _in_folder(folder, lambda _: None)
    try:
        return _read(_hub(options, lambda _: None).cached)
    except Unfit as error:
        raise _unfit(error) from error


def _unfit(error: Unfit) -> EngineUnavailable:
    remedy = f"run '{LISTENING_DOWNLOAD}' to fetch it again" if error.is_damaged else NOT_THIS
    return EngineUnavailable(f"{error}; {remedy}.")


def _hub(options: EngineOptions, progress: Progress) -> HubRepo:
    return HubRepo(_repo(options), progress, option="--listen-model", download=LISTENING_DOWNLOAD)


def _folder(options: EngineOptions) -> Path | None:
    folder = Path(options.listen_model).expanduser()
    return folder if options.listen_model and folder.is_dir() else None


def _repo(options: EngineOptions) -> str:
    repo = options.listen_model or DEFAULT_REPO
    if Path(repo).expanduser().is_file():
        raise EngineUnavailable(f"{repo} is a file; --listen-model takes the folder that it is in.")
    if not is_repo(repo):
        raise EngineUnavailable(
            f"There is no folder {repo}; --listen-model takes a folder, "
            f"or a repo of the hub such as {DEFAULT_REPO}."
        )
    return repo


def _in_folder(folder: Path, progress: Progress) -> ListeningCheckpoint:
    def find(name: str) -> Path:
        if not (folder / name).is_file():
            raise EngineUnavailable(
                f"{folder / name} is missing; put it there, or leave out --listen-model for {DEFAULT_REPO}."
            )
        return folder / name

    progress(f"The listening model comes from {folder}.")
    try:
        checkpoint = _read(find)
    except Unfit as error:
        remedy = "copy it there again" if error.is_damaged else NOT_THIS
        raise EngineUnavailable(f"{error}; {remedy}.") from error
    assert checkpoint is not None  # noqa: S101 - for mypy: find never gives None
    return checkpoint


def _read(find_file: FindFile) -> ListeningCheckpoint | None:
    """Check the files; None where one of them is not found. The small ones come first."""
    if (config_file := find_file(CONFIG_NAME)) is None:
        return None
    data = _read_config(config_file)
    config = _sizes(config_file, data)
    names = (_tokenizer_name(config_file, data), data.get("moshi_name") or WEIGHTS_NAME)
    tokenizer, weights = (find_file(name) for name in names)
    if tokenizer is None or weights is None:
        return None
    pieces = load_tokenizer(tokenizer).get_piece_size()
    if pieces < config.text_out_vocab_size:
        raise Unfit(tokenizer, f"expected {config.text_out_vocab_size} pieces, got {pieces}")
    timing = data.get("stt_config") or {}
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
        float(timing.get("audio_delay_seconds", 0.5)),
        float(timing.get("audio_silence_prefix_seconds", 0.0)),
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Unfit(path, f"it cannot be read ({error})", is_damaged=True) from error
    if not isinstance(data, dict):
        raise Unfit(path, "it cannot be read (expected an object)")
    check_not_lora(path, data)
    return data


def _with_heads(config: LmConfig, shapes: Shapes) -> LmConfig:
    """Add the heads that the file has: some of Kyutai's are not named in their ``config.json``."""
    heads = [shape for name, shape in shapes.items() if EXTRA_HEAD.fullmatch(name)]
    if not heads:
        return config
    return replace(config, extra_heads_num_heads=len(heads), extra_heads_dim=heads[0][0])


def _tokenizer_name(path: Path, data: dict[str, Any]) -> str:
    if not isinstance(name := data.get("tokenizer_name"), str):
        raise Unfit(path, "the entry 'tokenizer_name' is missing")
    return name


def _sizes(path: Path, data: dict[str, Any]) -> LmConfig:
    try:
        sizes = LmConfig.from_config_dict(_WITHOUT_DEPFORMER | data)
    except KeyError as error:
        raise Unfit(path, f"the entry {error} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise Unfit(path, f"it cannot be read ({error})") from error
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
    if sizes.conditioners or sizes.transformer.cross_attention:
        raise Unfit(path, "models with conditions or cross attention are not supported")
    return sizes
