"""Effects of noise suppression and automatic gain on a caller's speech, and their cost.

``uv run python -m benchmarks.noise`` prints the two tables of docs/echo.md; it takes ten seconds. Speech over
µ-law, 20 s, alone and with white noise, passes the stages of the call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from pystoi import stoi

from benchmarks.table import row
from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.rehearse.clip import CALLER_FILE
from processors.caller_filter import CallerFilter
from processors.gain import AutomaticGain
from processors.noise import NoiseSuppressor

SECS, PAUSE_S = 20, 1.0
FROM_S = 5  # from then on, the stages are stable
SNRS_DB = (None, 20, 10)  # below speech
LEVELS_DBFS = (-23, -35, -41, -50)
USUAL_DBFS = -26.0
STAGES: dict[str, Callable[[], list[CallerFilter]]] = {
    "noise suppression": lambda: [NoiseSuppressor()],
    "automatic gain": lambda: [AutomaticGain()],
    "both": lambda: [NoiseSuppressor(), AutomaticGain()],
}
Floats = NDArray[np.float64]


def said() -> tuple[Floats, NDArray[np.bool_]]:
    """Return a caller's speech at 8 kHz with a level of 0 dB, and which samples are not pauses."""
    samples, rate_hz = soundfile.read(CALLER_FILE, dtype="float64", always_2d=True)
    clip = soxr.resample(samples[:, 0], rate_hz, PHONE_RATE_HZ)
    envelope = np.convolve(np.abs(clip), np.ones(1_600) / 1_600, "same")
    speaks = envelope > 0.1 * envelope.max()
    pause = np.zeros(int(PAUSE_S * PHONE_RATE_HZ))
    total = SECS * PHONE_RATE_HZ
    clip = clip / np.sqrt(np.mean(clip[speaks] ** 2))
    return (
        np.resize(np.concatenate((clip, pause)), total),
        np.resize(np.concatenate((speaks, pause > 0)), total),
    )


def on_the_phone(samples: Floats) -> NDArray[np.int16]:
    """Return samples after µ-law coding."""
    return np.frombuffer(g711.decode(g711.encode(pcm.to_bytes(samples.astype(np.float32)))), "<i2")


def through(stages: list[CallerFilter], samples: NDArray[np.int16]) -> tuple[NDArray[np.int16], float]:
    """Return the stages' output, and the CPU time of a second of call in ms."""
    began_s, out = time.process_time(), b""
    for begin in range(0, len(samples), PHONE_FRAME_SAMPLES):
        audio = samples[begin : begin + PHONE_FRAME_SAMPLES].tobytes()
        for stage in stages:
            audio = stage.clean(audio)
        out += audio
    return np.frombuffer(out, "<i2"), (time.process_time() - began_s) * 1000 / SECS


def delay(before: Floats, after: Floats, most: int = 400) -> int:
    """Return the delay of one against the other in samples."""
    return int(np.argmax([np.dot(before[: len(before) - late], after[late:]) for late in range(most)]))


def _db(samples: Floats) -> float:
    return 10 * float(np.log10(np.mean((samples / 32_768) ** 2) + 1e-12))


def suppression() -> None:
    """Print the stages' effect on speech at the usual level."""
    (speech, speaks), rng, begin = said(), np.random.default_rng(1), FROM_S * PHONE_RATE_HZ
    voice = speech * 10 ** (USUAL_DBFS / 20)
    print(row("stage", "noise", "delay ms", "noise less, dB", "STOI before", "STOI after", "CPU ms/s"))
    print(row(*["---"] * 7))
    for (name, make), snr_db in product(STAGES.items(), SNRS_DB):
        near = with_noise(voice, USUAL_DBFS, snr_db, rng)
        out, cpu_ms = through(make(), near)
        late = delay(near.astype(float), out.astype(float))
        end = len(near) - late
        before, after = near[begin:end].astype(float), out[begin + late :].astype(float)
        still = ~speaks[begin:end]
        less_db = "-" if snr_db is None else f"{_db(before[still]) - _db(after[still]):.0f}"
        scores = [f"{stoi(voice[begin:end], side, PHONE_RATE_HZ):.3f}" for side in (before, after)]
        print(row(name, _noise(snr_db), f"{late / 8:g}", less_db, *scores, f"{cpu_ms:.1f}"))


def gain() -> None:
    """Print how far callers are raised, over the last five seconds."""
    (speech, speaks), rng, begin = said(), np.random.default_rng(1), -FROM_S * PHONE_RATE_HZ
    print(row("caller, dBFS", "noise", "raised by, dB", "pauses, dBFS", "peak, dBFS"))
    print(row(*["---"] * 5))
    for level_dbfs, snr_db in product(LEVELS_DBFS, SNRS_DB):
        near = with_noise(speech * 10 ** (level_dbfs / 20), level_dbfs, snr_db, rng)
        out, _ = through(STAGES["automatic gain"](), near)
        before, after, speaks_then = near[begin:].astype(float), out[begin:].astype(float), speaks[begin:]
        raised_db = _db(after[speaks_then]) - _db(before[speaks_then])
        peak_dbfs = 20 * np.log10(np.abs(out.astype(float)).max() / 32_768)
        pauses = "-" if snr_db is None else f"{_db(after[~speaks_then]):.0f}"
        print(row(level_dbfs, _noise(snr_db), f"{raised_db:.0f}", pauses, f"{peak_dbfs:.0f}"))


def with_noise(
    voice: Floats, level_dbfs: float, snr_db: float | None, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Return a voice of a level over the phone, with white noise below it."""
    if snr_db is None:
        return on_the_phone(voice)
    return on_the_phone(voice + rng.normal(0, 10 ** ((level_dbfs - snr_db) / 20), len(voice)))


def _noise(snr_db: float | None) -> str:
    return "none" if snr_db is None else f"{snr_db} dB below"


def main() -> None:
    """Print both tables."""
    suppression()
    print()
    gain()


if __name__ == "__main__":
    main()
