"""The line's resampler compared with libsamplerate and soxr: lag, the telephone band, time.

``uv run python -m benchmarks.resamplers`` prints a table. Each resampler takes 8 kHz to 24 kHz and back in
blocks of 80 ms, as the line does. The lag of a streaming resampler is the audio that it holds back after each
block; it varies if the output comes in bursts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import samplerate
import soxr
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ, SAMPLE_RATE_HZ
from moshi_phone.audio.resampling import StreamResampler

Samples = NDArray[np.float32]
Process = Callable[[Samples], Samples]
BLOCK, BLOCKS, EDGE_HZ = PHONE_FRAME_SAMPLES, 125, 3_400


def _libsamplerate(quality: str) -> tuple[Process, Process]:
    up, down = samplerate.Resampler(quality), samplerate.Resampler(quality)
    return (lambda block: up.process(block, 3.0)), (lambda block: down.process(block, 1 / 3))


def _soxr(quality: str) -> tuple[Process, Process]:
    up = soxr.ResampleStream(PHONE_RATE_HZ, SAMPLE_RATE_HZ, 1, "float32", quality)
    down = soxr.ResampleStream(SAMPLE_RATE_HZ, PHONE_RATE_HZ, 1, "float32", quality)
    return up.resample_chunk, down.resample_chunk


def _ours() -> tuple[Process, Process]:
    return StreamResampler(PHONE_RATE_HZ, SAMPLE_RATE_HZ).process, StreamResampler(
        SAMPLE_RATE_HZ, PHONE_RATE_HZ
    ).process


CANDIDATES: dict[str, Callable[[], tuple[Process, Process]]] = {
    "this line (73 taps)": _ours,
    "libsamplerate sinc_fastest": lambda: _libsamplerate("sinc_fastest"),
    "libsamplerate sinc_medium": lambda: _libsamplerate("sinc_medium"),
    "soxr QQ": lambda: _soxr("QQ"),
    "soxr HQ": lambda: _soxr("HQ"),
    "soxr VHQ (pipecat's)": lambda: _soxr("VHQ"),
}


def measure(make: Callable[[], tuple[Process, Process]]) -> list[str]:
    """Return the table's cells: lag up median/max, level at the band's edge, both ways' time per frame."""
    blocks = 0.5 * np.sin(2 * np.pi * EDGE_HZ * np.arange(BLOCK * BLOCKS) / PHONE_RATE_HZ)
    said = blocks.astype(np.float32)
    up, down = make()
    came, back, lags_ms = 0, [], []
    began_s = time.perf_counter()
    for at in range(0, said.size, BLOCK):
        wide = up(said[at : at + BLOCK])
        came += wide.size
        # A filter that starts with silence returns every sample at once; the silence is its lag.
        lags_ms.append((at + BLOCK) / 8 - came / 24)
        back.append(down(wide[: wide.size // 3 * 3]))
    took_ms = (time.perf_counter() - began_s) * 1000 / BLOCKS
    built_in_ms = StreamResampler(PHONE_RATE_HZ, SAMPLE_RATE_HZ).lag_ms if make is _ours else 0.0
    heard = np.concatenate(back)[BLOCK * 20 : -BLOCK * 5]
    level_db = 20 * np.log10(max(float(heard.std()), 1e-9) / float(said.std()))
    lags = np.asarray(lags_ms) + built_in_ms
    return [f"{np.median(lags):.1f}", f"{lags.max():.1f}", f"{level_db:+.1f}", f"{took_ms:.2f}"]


if __name__ == "__main__":
    print(f"$ python -m benchmarks.resamplers {' '.join(sys.argv[1:])}".rstrip())
    print("| 8 to 24 kHz and back | lag up, median ms | max ms | 3,400 Hz, dB | both ways, ms per frame |")
    print("|---|---|---|---|---|")
    for name, make in CANDIDATES.items():
        print("| " + " | ".join([name, *measure(make)]) + " |")
