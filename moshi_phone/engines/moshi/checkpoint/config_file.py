"""A model's ``config.json``: how it is read, and which models no part of this program supports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moshi_phone.engines.moshi.checkpoint.model_files import Unfit
from moshi_phone.vendor.moshi_mlx.models.lm import LmConfig


def read_config(path: Path) -> dict[str, Any]:
    """Read the file's entries.

    Raises:
        Unfit: when the file is damaged, or not of a whole model.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Unfit(path, f"it cannot be read ({error})", is_damaged=True) from error
    if not isinstance(data, dict):
        raise Unfit(path, "it cannot be read (expected an object)")
    check_not_lora(path, data)
    return data


@contextmanager
def config_entries(path: Path) -> Iterator[None]:
    """Report missing and malformed entries of a file, while they are read.

    Raises:
        Unfit: when an entry is missing or has another type. The file itself is not damaged: fetching it again
            would not help.
    """
    try:
        yield
    except KeyError as error:
        raise Unfit(path, f"the entry {error} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise Unfit(path, f"it cannot be read ({error})") from error


def check_supported(path: Path, sizes: LmConfig) -> None:
    """Check that the model needs no input besides the two voices.

    Raises:
        Unfit: when it has conditions or cross attention.
    """
    if sizes.conditioners or sizes.transformer.cross_attention:
        raise Unfit(path, "models with conditions or cross attention are not supported")


def file_name(data: dict[str, Any], key: str) -> str | None:
    """Return a file name from ``config.json``, or None.

    Raises:
        TypeError: when it is not a string.
    """
    name = data.get(key)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"expected {key} to be text, got {type(name).__name__}")
    return name


def check_not_lora(config: Path, data: dict[str, Any]) -> None:
    """Reject a ``config.json`` of a LoRA fine-tune: without its adapter it would be the base model.

    Raises:
        Unfit: with the remedy.
    """
    if data.get("lora") or data.get("lora_name"):
        raise Unfit(
            config,
            "it is of a LoRA fine-tune, whose adapter cannot be loaded yet; merge the adapter into the "
            "weights, and take lora and lora_name out of this file",
        )
