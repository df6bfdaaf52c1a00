"""Calls to calculated servers: no socket, no clock, no waiting."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from moshi_phone.audio import g711, pcm
from moshi_phone.rehearse.clip import CALLER_FILE, caller_speech
from moshi_phone.rehearse.playback import Playback
from moshi_phone.rehearse.record import CallRecord

FRAME = 640
STEP_S = 0.030
"""What a good server takes for a frame."""
BEGAN_S = 1000.0

Server = Callable[[list[bytes]], list[tuple[float, bytes]]]
"""Takes the caller's frames (µ-law, 80 ms; frame k ends at (k + 1) * 0.08 s), gives (time, µ-law)."""


def call(server: Server, secs: float = 12.0, clip: Path = CALLER_FILE) -> CallRecord:
    said = caller_speech(clip, secs)
    frames = [said[at : at + FRAME] for at in range(0, len(said), FRAME)]
    ear = Playback(BEGAN_S)
    for at_s, mulaw in sorted(server(frames), key=lambda message: message[0]):
        ear.media(mulaw, BEGAN_S + at_s)
    return CallRecord(
        said,
        BEGAN_S,
        ear,
        left_s=[BEGAN_S + (packet + 1) * 0.02 for packet in range(len(said) // 160)],
        hung_up_s=BEGAN_S + secs,
        closed_after_s=0.01,
        close_code=1000,
    )


def mirror(frames: list[bytes]) -> list[tuple[float, bytes]]:
    return [((k + 1) * 0.08 + STEP_S, frame) for k, frame in enumerate(frames)]


def parrot(frames: list[bytes], delay_frames: int = 12) -> list[tuple[float, bytes]]:
    late = [b"\xff" * FRAME] * delay_frames + frames
    return mirror(late[: len(frames)])


def slow(frames: list[bytes]) -> list[tuple[float, bytes]]:
    return [(at_s + 0.4, frame) for at_s, frame in mirror(frames)]


def drops_every_tenth(frames: list[bytes]) -> list[tuple[float, bytes]]:
    return [message for k, message in enumerate(mirror(frames)) if k % 10 != 9]


def speaks_when_the_caller_is_silent(frames: list[bytes]) -> list[tuple[float, bytes]]:
    """An echo suppressor: a steady stream, but silent while the caller speaks."""
    answer = parrot(frames)
    return [
        (at_s, b"\xff" * FRAME if loud(frame) else said)
        for frame, (at_s, said) in zip(frames, answer, strict=True)
    ]


def waits_for_its_turn(frames: list[bytes]) -> list[tuple[float, bytes]]:
    """A turn-based voice agent: it waits for half a second of silence, and then answers everything."""
    messages, turn, quiet = [], b"", 0
    for k, frame in enumerate(frames):
        quiet = 0 if loud(frame) else quiet + 1
        turn += frame
        if quiet == 6:
            messages.append(((k + 1) * 0.08 + STEP_S, turn))
            turn = b""
    return messages


def drifts(frames: list[bytes]) -> list[tuple[float, bytes]]:
    """A clock that runs 1 % slow: 80 ms of the caller become 80.8 ms of answer."""
    said = pcm.to_float(g711.decode(b"".join(frames)))
    longer = g711.encode(pcm.to_bytes(resample_poly(said, 101, 100).astype(np.float32)))
    edges = [round(k * FRAME * 1.01) for k in range(len(frames) + 1)]
    return [((k + 1) * 0.08 + STEP_S, longer[begin:end]) for k, (begin, end) in enumerate(pairwise(edges))]


def stalls_once(frames: list[bytes]) -> list[tuple[float, bytes]]:
    return [(max(at_s, 6.6) if 6.0 <= at_s <= 6.6 else at_s, frame) for at_s, frame in mirror(frames)]


def half_as_fast(frames: list[bytes]) -> list[tuple[float, bytes]]:
    """A machine at half the required speed: 160 ms for each 80."""
    return [((k + 1) * 0.16, frame) for k, frame in enumerate(frames)]


def noisy(frames: list[bytes]) -> list[tuple[float, bytes]]:
    said = pcm.to_float(g711.decode(b"".join(frames)))
    hiss = np.random.default_rng(1).normal(0, 0.03, len(said)).astype(np.float32)
    worse = g711.encode(pcm.to_bytes(said + hiss))
    return mirror([worse[at : at + FRAME] for at in range(0, len(worse), FRAME)])


def loud(frame: bytes) -> bool:
    return float(np.sqrt(np.mean(np.square(pcm.to_float(g711.decode(frame)))))) > 0.006
