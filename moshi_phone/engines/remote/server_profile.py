"""The differences between the kinds of servers, as data: no other file tests a server's kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

ServerKind = Literal["kyutai", "rust", "personaplex"]
KINDS: tuple[ServerKind, ...] = ("kyutai", "rust", "personaplex")


@dataclass(frozen=True)
class ServerProfile:
    """Abilities and limits of a kind of server.

    Attributes:
        kind: its name in ``--server-kind``.
        title: its name for people.
        sampling: maps our options to the query's names, for sampling settings of a call.
        prompts: whether the query must carry a persona and a voice.
        holds_many: whether it serves several clients at once; others let the second wait in silence.
        limit_frames: number of frames after which it ends every call; None for no limit.
        seeds: the query's names for a seed; without one, no seed must be sent.
        forbidden: keys that the query must not contain, because the server fails on them.
    """

    kind: ServerKind
    title: str
    sampling: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    prompts: bool = False
    holds_many: bool = False
    limit_frames: int | None = None
    seeds: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


PROFILES: Mapping[ServerKind, ServerProfile] = MappingProxyType(
    {
        "kyutai": ServerProfile("kyutai", "Kyutai's Python server"),
        "rust": ServerProfile(
            "rust",
            "Kyutai's Rust backend",
            sampling=MappingProxyType(
                {
                    "text_temperature": "text_temperature",
                    "text_top_k": "text_topk",
                    "audio_temperature": "audio_temperature",
                    "audio_top_k": "audio_topk",
                    "max_steps": "max_steps",
                }
            ),
            holds_many=True,
            limit_frames=4500,  # 360 s, regardless of the query
            seeds=("text_seed", "audio_seed"),
        ),
        # A seed makes it raise KeyError, before the handshake.
        "personaplex": ServerProfile(
            "personaplex", "NVIDIA's PersonaPlex server", prompts=True, forbidden=("seed",)
        ),
    }
)
