"""Speech, rooms and phones with an echo, for tests of the echo canceller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from moshi_phone.audio import g711
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.engines.parrot import GREETING_FILE
from moshi_phone.rehearse.clip import CALLER_FILE
from moshi_phone.rehearse.clips import CLIPS

Floats = NDArray[np.float32]


def speech(secs: float, *, caller: bool = False, pause_s: float = 1.0) -> Floats:
    """Return speech at 8 kHz, float32 [secs * 8000]: the caller's clip or the bot's, repeated."""
    clip = _read(CALLER_FILE if caller else GREETING_FILE)
    one = np.concatenate((0.5 * clip, np.zeros(int(pause_s * PHONE_RATE_HZ))))
    total = int(secs * PHONE_RATE_HZ)
    return np.tile(one, total // len(one) + 1)[:total].astype(np.float32)


def _read(path: Path) -> Floats:
    samples, rate_hz = sf.read(path, dtype="float32", always_2d=True)
    mono = samples[:, 0]
    count = len(mono) * PHONE_RATE_HZ // rate_hz
    at = np.arange(count) * rate_hz / PHONE_RATE_HZ
    clip: Floats = np.interp(at, np.arange(len(mono)), mono).astype(np.float32)
    return clip


def clips() -> list[Floats]:
    """Return the rehearsal caller's clips, at least two seconds each: 8 kHz, float32."""
    return [clip for path in sorted(CLIPS.glob("*/*.flac")) if len(clip := _read(path)) > 2 * PHONE_RATE_HZ]


def talk(rng: np.random.Generator, voices: Sequence[Floats], secs: float) -> Floats:
    """Return speech with pauses: float32 [secs * 8000]."""
    said: list[Floats] = []
    while sum(map(len, said)) < secs * PHONE_RATE_HZ:
        said += [voices[int(rng.integers(len(voices)))], silence(rng.uniform(0.1, 2))]
    return np.concatenate(said)[: int(secs * PHONE_RATE_HZ)]


def silence(secs: float) -> Floats:
    """Return silence: float32 [secs * 8000]."""
    return np.zeros(int(secs * PHONE_RATE_HZ), np.float32)


def later(samples: Floats, secs: float) -> Floats:
    """Return the delayed signal, of the same length."""
    return np.concatenate((silence(secs), samples))[: len(samples)]


def echo(samples: Floats, delay_ms: float, loss_db: float, *, seed: int = 0) -> Floats:
    """Return the echo of a room of 80 ms reverberation."""
    count = PHONE_RATE_HZ * 80 // 1000
    rng = np.random.default_rng(seed)
    room = rng.standard_normal(count) * np.exp(-6.9 * np.arange(count) / count)
    room[0] = 2.0
    room /= np.sqrt(np.sum(room**2))
    reflected = np.convolve(samples, room)[: len(samples)] * 10 ** (-loss_db / 20)
    return later(reflected.astype(np.float32), delay_ms / 1000)


def on_the_phone(samples: Floats) -> NDArray[np.int16]:
    """Return the samples after µ-law coding: int16."""
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    return np.frombuffer(g711.decode(g711.encode(pcm)), "<i2")


def power_db(samples: NDArray[np.int16]) -> float:
    """Return the power of samples, in dB of full scale."""
    return float(10 * np.log10(np.mean((samples / 32768.0) ** 2) + 1e-12))
