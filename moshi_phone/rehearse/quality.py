"""Speech quality of the line, from the caller's words and their returned copy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.rehearse.alignment import Alignment, Samples
from moshi_phone.rehearse.playback import Gap

MAX_SKEW = 0.003
_BLOCK_FRAMES = 25  # 2 s of speech; STOI needs at least 0.4 s
_MIN_FRAMES = 10
_FULL_SCALE = 32_000 / 32_768  # µ-law's outermost code is 32,124


@dataclass(frozen=True, slots=True)
class Quality:
    """The line's quality.

    Attributes:
        stoi: short-time objective intelligibility (Taal et al. 2011), 0 to 1: the median over blocks of
            2 s, so that gaps or another voice in some blocks do not dominate.
        snr_db: signal-to-noise ratio of the returned words, the median over the same blocks.
        blocks: number of judged blocks.
    """

    stoi: float
    snr_db: float
    blocks: int


def line_quality(
    said: Samples, heard: Samples, alignment: Alignment, gaps: Sequence[Gap] = ()
) -> Quality | None:
    """Measure the line's quality on the aligned frames; None if there are too few.

    Gaps are excluded: another criterion counts them. Speech with a clock skew is not judged, because STOI and
    SNR presume one clock.

    Args:
        said: float32 ``[n]``, 8 kHz.
        heard: float32 ``[m]``, 8 kHz.
        alignment: positions of the caller's frames in ``heard``.
        gaps: underruns in ``heard``.
    """
    if abs(alignment.clock_skew) > MAX_SKEW:
        return None
    found = np.flatnonzero(np.isfinite(alignment.lag_samples))
    there = found * PHONE_FRAME_SAMPLES + alignment.lag_samples[found]
    whole = there + PHONE_FRAME_SAMPLES <= len(heard)
    for gap in gaps:
        whole &= (there + PHONE_FRAME_SAMPLES <= gap.heard_sample) | (there >= gap.heard_sample + gap.samples)
    found = found[whole]
    blocks = [found[at : at + _BLOCK_FRAMES] for at in range(0, len(found), _BLOCK_FRAMES)]
    judged = [_judge(said, heard, block, alignment) for block in blocks if len(block) >= _MIN_FRAMES]
    if not judged:
        return None
    stois, snrs = zip(*judged, strict=True)
    return Quality(float(np.median(stois)), float(np.median(snrs)), len(judged))


def clipped_share(heard: Samples) -> float:
    """Return the share of samples at full scale."""
    return float(np.mean(np.abs(heard) >= _FULL_SCALE)) if len(heard) else 0.0


def _judge(
    said: Samples, heard: Samples, frames: NDArray[np.intp], alignment: Alignment
) -> tuple[float, float]:
    from pystoi import stoi  # noqa: PLC0415 - loads scipy: as in alignment.py

    at = frames[:, None] * PHONE_FRAME_SAMPLES + np.arange(PHONE_FRAME_SAMPLES)
    there = at + alignment.lag_samples[frames].astype(np.intp)[:, None]
    one, other = said[at.ravel()], heard[there.ravel()]
    # The least-squares gain, so that a quieter copy is not noise.
    gain = float(np.dot(one, other) / max(np.dot(one, one), 1e-12))
    noise = float(np.mean(np.square(other - gain * one)))
    signal = gain**2 * float(np.mean(np.square(one)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # too little speech in a block: STOI returns 1e-5
        intelligible = float(stoi(one, other, PHONE_RATE_HZ))
    return intelligible, float(10 * np.log10(max(signal, 1e-12) / max(noise, 1e-12)))
