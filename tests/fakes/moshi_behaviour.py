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
        load_s: from the connection to the handshake (PersonaPlex: for each step of its prompts).
        step_s: for each frame.
        swallows: so many frames are never answered.
        dies: in which phase it goes away: refusing the WebSocket, while the client waits, right after the
            handshake, at the first frame, in the talk; or its model loop fails, and it closes normally.
        dies_at: at which frame "talk" and "model" are.
        silent_at: from which frame on it answers nothing any more, but hears; 0 for never.
        handshakes: whether it ever does.
        error: it sends this as an error message at the third frame.
        splits: it cuts each message of audio into two.
        garbles: it damages every tenth page, and puts bytes between pages.
        babbles: it sends kinds that nobody needs, empty messages and text frames.
        words: sent as text, one a frame.
        limit_frames: it ends the call after so many (the Rust backend: 4500).
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
        persona: with which the model ran when this client's handshake was sent.
        unknown_kinds: kinds that it sent beside audio.
    """

    query: dict[str, str]
    headers: dict[str, str]
    heard: list[NDArray[np.float32]] = field(default_factory=list)
    waited: bool = False
    eaten: int = 0
    persona: str = ""
    unknown_kinds: list[int] = field(default_factory=list)
    over: bool = False
