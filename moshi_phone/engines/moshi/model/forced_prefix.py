"""What a call opens with, as tokens: fixed beforehand, and said while the caller is heard."""

from __future__ import annotations

from dataclasses import dataclass

from moshi_phone.engines.moshi.model.text_tokens import PADDING_TOKEN
from moshi_phone.engines.moshi.model.token_history import Tokens


@dataclass(frozen=True, slots=True, eq=False)
class PrefixFrame:
    """One frame of a forced prefix: what the model is made to put into words and to say."""

    text_token: int
    audio_tokens: Tokens


ForcedPrefix = tuple[PrefixFrame, ...]
NO_PREFIX: ForcedPrefix = ()


def silent_prefix(frames: int, silence: Tokens) -> ForcedPrefix:
    """An opening in which Moshi keeps still, so that the caller speaks first.

    Args:
        frames: how long.
        silence: uint32 ``[8]``, what Mimi makes of a silent frame.
    """
    return (PrefixFrame(PADDING_TOKEN, silence),) * frames
