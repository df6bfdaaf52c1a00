"""A voice to speak with, as PersonaPlex takes it: what the model is made to have said before a call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moshi_phone.engines.duplex import EngineError
from moshi_phone.engines.moshi.checkpoint.torch_archive import NotTensors, read_tensors

EMBEDDINGS_AXES = 4
CACHE_AXES = 3


class VoiceUnfit(EngineError):
    """A voice that this model cannot take."""


@dataclass(frozen=True, eq=False)
class EmbeddedVoice:
    """A voice as NVIDIA gives its own away: what the main transformer reads, in place of tokens.

    Attributes:
        embeddings: float32 ``[positions, dim]``, of the first positions.
        cache: int64 ``[1 + codebooks, slots]``: the token ring of NVIDIA's generator after them; what is of
            time t stands in slot ``(t + 1 + delay) % slots``, because its first slot holds start tokens.
    """

    embeddings: NDArray[np.float32]
    cache: NDArray[np.int64]

    @property
    def frames(self) -> int:
        """How many frames of speech it stands for. The first has no position of its own."""
        return len(self.embeddings) + 1


@dataclass(frozen=True, eq=False)
class SpokenVoice:
    """A voice as a recording: uint32 ``[frames, 8]``, Mimi's tokens of it.

    NVIDIA's generator puts start tokens in the place of its first frame, and so do we.
    """

    tokens: NDArray[np.uint32]

    @property
    def frames(self) -> int:
        """How long it is."""
        return len(self.tokens)


Voice = EmbeddedVoice | SpokenVoice


def read_voice(path: Path) -> EmbeddedVoice:
    """Read one of NVIDIA's ``NAME.pt`` files.

    Raises:
        VoiceUnfit: when it is none.
    """
    try:
        tensors = read_tensors(path)
    except NotTensors as error:
        raise VoiceUnfit(f"{path} is not a voice: {error}.") from error
    except OSError as error:
        raise VoiceUnfit(f"The voice {path} cannot be read ({error.strerror or error}).") from error
    if tensors.keys() != {"embeddings", "cache"}:
        raise VoiceUnfit(f"{path} is not a voice: expected embeddings and cache, got {sorted(tensors)}.")
    embeddings, cache = tensors["embeddings"], tensors["cache"]
    # The archive's reader gives floats and int64 and nothing else.
    if embeddings.shape[1:3] != (1, 1) or embeddings.ndim != EMBEDDINGS_AXES or embeddings.dtype == np.int64:
        raise VoiceUnfit(
            f"{path} is not a voice: expected embeddings [frames, 1, 1, dim], got {list(embeddings.shape)}."
        )
    if cache.shape[:1] != (1,) or cache.ndim != CACHE_AXES or cache.dtype != np.int64:
        raise VoiceUnfit(
            f"{path} is not a voice: expected a cache int64 [1, rows, slots], "
            f"got {cache.dtype} {list(cache.shape)}."
        )
    if not np.isfinite(embeddings).all():
        raise VoiceUnfit(f"{path} is not a voice: its embeddings are not all finite.")
    return EmbeddedVoice(embeddings[:, 0, 0].astype(np.float32), cache[0])
