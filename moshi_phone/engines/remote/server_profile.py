"""How the servers that speak this protocol differ, as data: no other file tests a server's kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

ServerKind = Literal["kyutai", "rust", "personaplex"]
KINDS: tuple[ServerKind, ...] = ("kyutai", "rust", "personaplex")


@dataclass(frozen=True)
class ServerProfile:
    """What a kind of server can do, and what it must not be sent.

    Attributes:
        kind: as ``--server-kind`` spells it.
        title: for people.
        sampling: our option's name to the query's, for what a call may set of the sampling.
        prompts: whether the query must carry a persona and a voice.
        holds_many: whether it serves several clients at once; others let the second wait in silence.
        limit_frames: after how many frames it ends every call by itself; None for never.
        seeds: names of the query for a seed; where there are none a seed must not be sent.
        forbidden: what the query must not carry, because the server breaks on it.
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
            limit_frames=4500,  # 360 s, whatever the query asks for
            seeds=("text_seed", "audio_seed"),
        ),
        # A seed raises KeyError there, before the handshake.
        "personaplex": ServerProfile(
            "personaplex", "NVIDIA's PersonaPlex server", prompts=True, forbidden=("seed",)
        ),
    }
)
