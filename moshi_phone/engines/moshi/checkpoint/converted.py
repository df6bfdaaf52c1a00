"""Where the converted weights of a model are that is published in PyTorch's layout only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from moshi_mlx.models.lm import LmConfig
from safetensors import SafetensorError, safe_open

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.moshi.checkpoint.checkpoint import PERSONAPLEX, Unfit
from moshi_phone.engines.moshi.checkpoint.convert import PERSONAPLEX_SLICES, convert
from moshi_phone.engines.moshi.checkpoint.pytorch_layout import is_pytorch_layout, slices_in
from moshi_phone.engines.moshi.checkpoint.tensor_shapes import Damaged, read_shapes
from moshi_phone.engines.moshi.model.language_model import Quantization

SOURCE_NAME = "model.safetensors"  # PyTorch's, and Kyutai's for mlx without packing: the tensors tell
CONVERTED_NAMES = {"4": "model.q4.safetensors", "8": "model.q8.safetensors", "none": "model.bf16.safetensors"}


def published_for_pytorch(repo: str) -> bool:
    """Whether a repo of the hub is known to hold PyTorch's layout only."""
    name = repo.lower()
    return "personaplex" in name and not name.endswith(("-q4", "-q8", "-bf16"))


def cache_folder(repo: str, commit: str) -> Path:
    """Where we keep what we make of a repo's files; beside the hub's own cache, which is only the hub's."""
    return Path(constants.HF_HUB_CACHE).parent / "moshi-phone" / repo.replace("/", "--") / commit


@dataclass(frozen=True)
class Conversion:
    """Weights that are converted once and used from then on.

    Attributes:
        target: gives the converted file's place, once the repo's commit is known.
        quantization: how it is packed.
        progress: hears how far the conversion is.
        may_convert: whether to convert now what has not been converted before.
    """

    target: Callable[[], Path]
    quantization: Quantization | None
    progress: Progress
    may_convert: bool = True

    def weights(self, find_source: Callable[[str], Path | None], config: LmConfig) -> Path | None:
        """Give the converted file; None where the source is not found, or may not be converted.

        Raises:
            Unfit: when the source cannot be used.
            EngineUnavailable: when the source cannot be fetched, or there is no room for the result.
        """
        target = self.target()
        if target.exists():
            return target
        source = find_source(SOURCE_NAME) if self.may_convert else None
        if source is None:
            return None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            convert(source, target, config, self.quantization, self.progress)
        except Damaged as error:
            raise Unfit(source, str(error)) from error
        except OSError as error:
            raise EngineUnavailable(
                f"{target} cannot be written ({error.strerror or error}); set HF_HOME to a folder "
                "that can be written to."
            ) from error
        return target


def drop_if_older(target: Path, source: Path) -> None:
    """Remove a conversion of an earlier source."""
    if target.exists() and source.exists() and target.stat().st_mtime < source.stat().st_mtime:
        target.unlink()


def is_personaplex(path: Path) -> bool:
    """Whether a file holds PersonaPlex: it says so if we converted it, and PyTorch's has 16 slices."""
    try:
        with safe_open(path, "numpy") as file:
            metadata, names = file.metadata() or {}, file.keys()
    except (SafetensorError, OSError):
        return False
    return metadata.get("model_type") == PERSONAPLEX or slices_in(names) == PERSONAPLEX_SLICES


def is_for_pytorch(path: Path) -> bool:
    """Whether a file is PyTorch's. A damaged one is not: whoever checks it says what is wrong."""
    try:
        return path.is_file() and is_pytorch_layout(read_shapes(path))
    except (Damaged, OSError):
        return False
