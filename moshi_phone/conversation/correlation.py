"""Correlation of two signals: delay, clearness and attenuation of one in the other. Pure."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.spectrum import squared

Floats = NDArray[np.float32]

_FACTORS = (2, 3, 5)
_REGULARIZATION = 1e-2  # of the mean power: the filter is unknown where the earlier signal is empty
_SMOOTHED_BINS = 300  # 25 Hz of 12 s at 4 kHz
_MIN_POWER = 1000.0  # of 16-bit samples: keeps noise below the level of speech
_TINY = np.float32(1e-9)
_FLOOR = np.float32(1e-3)  # of the maximum: empty frequencies must not become peaks


def correlate(later: Floats, earlier: Floats) -> Floats:
    """Correlate a signal with a longer one that ends at the same time.

    The spectra are partially whitened, so that a tone does not dominate.

    Args:
        later: float32 ``[n]``.
        earlier: float32 ``[m]``, m > n.

    Returns:
        float32 ``[m - n + 1]``, in its own standard deviations: at index k, the correlation of ``later`` with
        ``earlier`` delayed by k samples.
    """
    both = np.zeros((2, quick_length(len(earlier))), np.float32)
    both[0, : len(earlier)], both[1, : len(later)] = earlier, later
    spectra = np.fft.rfft(both)
    roots = np.sqrt(np.sqrt(squared(spectra)))  # of the magnitudes
    # Whitening exponents 1/2 and 3/4: of all tried from 0 to 1, these find the weakest echo soonest.
    roots[1] *= np.sqrt(roots[1])
    roots += _FLOOR * roots.max(axis=1, keepdims=True) + _TINY
    spectra /= roots
    # At shift s, the later signal begins at sample s of the earlier one.
    products = np.fft.irfft(spectra[0] * np.conj(spectra[1]), both.shape[1])[: len(earlier) - len(later) + 1]
    found: Floats = products[::-1].astype(np.float32)
    found *= np.float32(1 / (rms(found) or 1.0))
    return found


def impulse_response(later: Floats, earlier: Floats, taps: int) -> Floats:
    """Estimate the filter from the earlier to the later signal. Both must be much longer than it.

    Args:
        later: float32 ``[n]``.
        earlier: float32 ``[n]``, over the same time.
        taps: length of the filter.

    Returns:
        float32 ``[taps]``.
    """
    size = quick_length(len(later) + taps)
    first, second = np.fft.rfft(earlier, size), np.fft.rfft(later, size)
    power = squared(first)
    sums = np.cumsum(np.pad(power, _SMOOTHED_BINS, mode="reflect"), dtype=np.float64)
    smooth = (sums[2 * _SMOOTHED_BINS :] - sums[: -2 * _SMOOTHED_BINS]).astype(np.float32)
    spectrum = np.conj(first) * second / (power + np.float32(_REGULARIZATION * float(power.mean()) + 1e-9))
    # Weighted by the earlier signal's spectrum, so that the filter's energy is a gain.
    spectrum *= np.sqrt(smooth / (float(smooth.mean()) + 1e-9))
    return np.fft.irfft(spectrum, size)[:taps].astype(np.float32)


@cache
def quick_length(at_least: int) -> int:
    """Return the next length with a fast transform: even, with no prime factor above 5."""
    size = at_least + at_least % 2
    while _without_factors(size) != 1:
        size += 2
    return size


def _without_factors(size: int) -> int:
    for factor in _FACTORS:
        while size % factor == 0:
            size //= factor
    return size


def rms(samples: Floats) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.dot(samples, samples) / max(samples.size, 1)))


def levelled(samples: Floats, over: int) -> Floats:
    """Equalize the level of a signal over time.

    Gaps between words then weigh as much as the words; an echo is most audible there.

    Args:
        samples: float32 ``[n]``, n > over.
        over: averaging length of the level, in samples.
    """
    count, begin = len(samples), over // 2 + 1
    sums = np.zeros(count + over)  # of the power, which is 0 before and after the signal
    np.cumsum(samples * samples, out=sums[begin : begin + count])
    sums[begin + count :] = sums[begin + count - 1]
    mean = (sums[over:] - sums[:-over]) / over
    level: Floats = samples / np.sqrt(mean.astype(np.float32) + np.float32(_MIN_POWER))
    return level
