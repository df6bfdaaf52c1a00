"""The behaviour of a fake Moshi server, and what it records of a client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moshi_phone.engines.remote.server_profile import ServerKind

Dies = Literal["", "upgrade", "waiting", "handshake", "first frame", "talk", "model"]


@dataclass
class Behaviour:
    """What a server does besides answering.

    Attributes:
        kind: which of the three it is.
        load_s: the time from the connection to the handshake (PersonaPlex: of each step of its prompts).
        step_s: the time of a frame.
        swallows: the number of first frames that are never answered.
        dies: the phase in which it closes: refusing the WebSocket, while the client waits, right after the
            handshake, at the first frame, in the talk; or its model loop fails, and it closes normally.
        dies_at: the frame at which "talk" and "model" happen.
        silent_at: the frame from which on it reads, but no longer answers; 0 for never.
        handshakes: whether it ever sends its handshake.
        error: sent as an error message at the third frame.
        splits: whether it splits each message of audio into two.
        garbles: whether it damages every tenth page, and inserts bytes between pages.
        babbles: whether it sends unused kinds, empty messages and text frames.
        words: sent as text, one per frame.
        limit_frames: the number of frames after which it ends the call (the Rust backend: 4500).
    """

    kind: ServerKind = "kyutai"
    load_s: float = 0.0
    step_s: float = 0.0
    swallows: int = 1
    dies: Dies = ""
    dies_at: int = 10
    silent_at: int = 0
    handshakes: bool = True
    error: str = ""
    splits: bool = False
    garbles: bool = False
    babbles: bool = False
    words: tuple[str, ...] = ()
    limit_frames: int = 4500
    prompt_steps: int = 10
    token: str = ""


@dataclass
class Visit:
    """One client's connection.

    Attributes:
        query: of its URL.
        headers: of its request.
        heard: its frames.
        waited: whether it had to wait for another client.
        eaten: messages that the prompts' steps swallowed.
        persona: of the model when this client's handshake was sent.
        unknown_kinds: kinds other than audio that it sent.
    """

    query: dict[str, str]
    headers: dict[str, str]
    heard: list[NDArray[np.float32]] = field(default_factory=list)
    waited: bool = False
    eaten: int = 0
    persona: str = ""
    unknown_kinds: list[int] = field(default_factory=list)
    over: bool = False
