"""The files of a Moshi model, with checks that each is valid and that they fit together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mlx.utils import tree_flatten
from sentencepiece import SentencePieceProcessor

from moshi_phone.engines.moshi.checkpoint.config_file import (
    check_supported,
    config_entries,
    file_name,
    read_config,
)
from moshi_phone.engines.moshi.checkpoint.mimi_layout import mimi_shapes
from moshi_phone.engines.moshi.checkpoint.model_files import Unfit
from moshi_phone.engines.moshi.checkpoint.tensor_shapes import (
    Damaged,
    OtherLayout,
    Shapes,
    check_shapes,
    read_shapes,
)
from moshi_phone.engines.moshi.codec import codec
from moshi_phone.engines.moshi.model.quantized_model import Quantization, build
from moshi_phone.vendor.moshi_mlx.models.lm import LmConfig, config_v0_1

CONFIG_NAME = "config.json"
MIMI_NAME = "tokenizer-e351c8d8-checkpoint125.safetensors"
TOKENIZER_NAME = "tokenizer_spm_32k_3.model"
PERSONAPLEX = "personaplex"  # the ``model_type`` of its ``config.json``
WEIGHTS_NAMES = {
    "4": "model.q4.safetensors",
    "4-8": "model.q4-8.safetensors",
    "8": "model.q8.safetensors",
    "none": "model.safetensors",
}

LORA = re.compile(r"(?:^|\.)lora_|\.frozen_W\.")  # Kyutai's, mlx's and PEFT's names

_SLICE = re.compile(r"depformer\.slices\.(\d+)\.")


@dataclass(frozen=True)
class Manifest:
    """File names and sizes of a checkpoint, from ``config.json`` or else as in Kyutai's first release.

    Attributes:
        config: the language model's sizes.
        mimi_name: name of the codec's file.
        tokenizer_name: name of the text tokenizer's file.
        weights_name: name of the language model's file; None if ``--quantize`` determines it.
        takes_persona: whether the model was trained to take a prompt, as PersonaPlex was.
    """

    config: LmConfig
    mimi_name: str = MIMI_NAME
    tokenizer_name: str = TOKENIZER_NAME
    weights_name: str | None = None
    takes_persona: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """The files of a model.

    Attributes:
        weights: file of the language model.
        mimi: file of the codec.
        tokenizer: file of the text tokenizer.
        config: the language model's sizes.
        quantization: of the weights; None if they are not quantized.
        takes_persona: whether the model was trained to take a prompt, as PersonaPlex was.
    """

    weights: Path
    mimi: Path
    tokenizer: Path
    config: LmConfig
    quantization: Quantization | None
    takes_persona: bool = False


def read_manifest(config: Path | None, *, is_personaplex: bool = False) -> Manifest:
    """Read ``config.json``.

    Args:
        config: the file, or None.
        is_personaplex: whether the weights are known to be PersonaPlex's, regardless of the file.

    Raises:
        Unfit: when the file is unreadable or does not describe a full-duplex Moshi.
    """
    if config is None:
        return Manifest(config_v0_1(), takes_persona=is_personaplex)
    data = read_config(config)
    with config_entries(config):
        is_personaplex |= data.get("model_type") == PERSONAPLEX or data.get("dep_q") == 2 * codec.CODEBOOKS
        if is_personaplex and "dim" not in data:  # NVIDIA's file has no sizes; they equal Moshi's
            sizes = config_v0_1()
        else:
            # PersonaPlex also has depformer slices that predict the caller. They are not needed.
            sizes = LmConfig.from_config_dict(data | {"dep_q": codec.CODEBOOKS} if is_personaplex else data)
        names = [file_name(data, key) for key in ("mimi_name", "tokenizer_name", "moshi_name")]
    duplex = (sizes.generated_codebooks, sizes.other_codebooks, len(sizes.audio_delays))
    if duplex != (codec.CODEBOOKS, codec.CODEBOOKS, 2 * codec.CODEBOOKS):
        raise Unfit(
            config,
            f"expected {codec.CODEBOOKS} codebooks each for Moshi and the caller, "
            f"got dep_q {duplex[0]}, n_q {duplex[0] + duplex[1]} and {duplex[2]} delays",
        )
    check_supported(config, sizes)
    return Manifest(sizes, names[0] or MIMI_NAME, names[1] or TOKENIZER_NAME, names[2], is_personaplex)


def check(
    weights: Path, mimi: Path, tokenizer: Path, config: LmConfig, *, takes_persona: bool = False
) -> Checkpoint:
    """Check every file without loading it, and return the checkpoint.

    Args:
        weights: file of the language model, in ``moshi_mlx``'s layout.
        mimi: file of the codec.
        tokenizer: file of the text tokenizer.
        config: the language model's sizes.
        takes_persona: whether the model was trained to take a prompt.

    Raises:
        Unfit: names the first unusable file.
    """
    shapes = shapes_of(weights)
    check_no_adapter(weights, shapes)
    quantization = quantization_of(weights, shapes, config)
    expected = dict(tree_flatten(build(config, quantization).parameters()))
    check_against(weights, shapes, {name: tuple(array.shape) for name, array in expected.items()})
    surplus = sorted(name for name in shapes.keys() - expected.keys() if not is_unneeded(name))
    if surplus:
        raise Unfit(weights, f"the tensor {surplus[0]} belongs to another model")
    check_against(mimi, shapes_of(mimi), mimi_shapes(codec.CODEBOOKS))
    pieces = load_tokenizer(tokenizer).get_piece_size()
    if pieces < config.text_out_vocab_size:
        raise Unfit(tokenizer, f"expected {config.text_out_vocab_size} pieces, got {pieces}")
    return Checkpoint(weights, mimi, tokenizer, config, quantization, takes_persona)


def check_no_adapter(weights: Path, names: Iterable[str]) -> None:
    """Reject LoRA files: an adapter alone, or weights with an unmerged adapter.

    Raises:
        Unfit: states which of the two it is.
    """
    names = list(names)
    adapter = [name for name in names if LORA.search(name)]
    if adapter and len(adapter) == len(names):
        raise Unfit(weights, "it is a LoRA adapter alone, without the model that it belongs to")
    if adapter:
        raise Unfit(weights, f"the tensor {adapter[0]} is a LoRA adapter's, which cannot be loaded yet")


def is_unneeded(name: str) -> bool:
    """Whether a tensor belongs to a slice of the depformer that only predicts the caller."""
    return (found := _SLICE.match(name)) is not None and int(found[1]) >= codec.CODEBOOKS


def load_tokenizer(path: Path) -> SentencePieceProcessor:
    """Load the text tokenizer.

    Raises:
        Unfit: when the file is not a sentencepiece model.
    """
    try:
        return SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise Unfit(path, "it is not a sentencepiece model", is_damaged=True) from error


def shapes_of(path: Path) -> Shapes:
    """Return the shapes of a safetensors file's tensors.

    Raises:
        Unfit: when the file is unreadable or damaged.
    """
    try:
        return read_shapes(path)
    except Damaged as error:
        raise Unfit(path, str(error), is_damaged=True) from error
    except OSError as error:
        raise Unfit(path, f"it cannot be read ({error.strerror})", is_damaged=True) from error


def check_against(path: Path, found: Shapes, expected: Shapes) -> None:
    """Check that a file holds every expected tensor.

    Raises:
        Unfit: names the first missing or differing tensor.
    """
    try:
        check_shapes(found, expected)
    except OtherLayout as error:
        raise Unfit(path, str(error)) from error


def quantization_of(weights: Path, shapes: Shapes, config: LmConfig) -> Quantization | None:
    """Infer the quantization from the shapes: each value takes ``bits / 32`` of a uint32.

    Raises:
        Unfit: when the shapes match no supported quantization.
    """
    dim: int = config.transformer.d_model
    main = _packing_of(weights, shapes, "text_linear", dim)
    depformer = _packing_of(weights, shapes, "depformer.slices.0.linear_in", dim)
    # If only one of the two is quantized, the later check of the shapes names the first difference.
    return main if main is None or depformer in (None, main) else replace(main, depformer=depformer)


def _packing_of(weights: Path, shapes: Shapes, layer: str, dim: int) -> Quantization | None:
    packed, scales = shapes.get(f"{layer}.weight"), shapes.get(f"{layer}.scales")
    if packed is None or scales is None:
        return None
    bits, bits_left = divmod(32 * packed[-1], dim)
    group_size, group_left = divmod(dim, max(scales[-1], 1))
    if bits_left or group_left or bits not in (2, 3, 4, 6, 8):
        raise Unfit(weights, f"the tensor {layer}.weight: got {list(packed)}, which {dim} inputs do not fit")
    return Quantization(bits, group_size)
