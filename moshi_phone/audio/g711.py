"""G.711 µ-law as two lookup tables: 256 codes one way, 65,536 samples the other (ITU-T G.711, table 2).

A µ-law code contains the sign, the position of the highest bit (the segment) and the next four bits of the
magnitude plus a bias, all inverted. It is a 14-bit format: a 16-bit sample first loses its two lowest bits,
rounding down, as in all common encoders.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SILENCE = 0xFF  # the code for zero; silence on the wire
_BIAS = 132  # of 16-bit magnitudes
_BIAS_14_BIT, _LARGEST_14_BIT = _BIAS >> 2, 8191


def _decode_table() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    segment, step = (code >> 4) & 7, code & 15
    magnitude = (((step << 3) + _BIAS) << segment) - _BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _encode_table() -> NDArray[np.uint8]:
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 2
    magnitude = np.minimum(np.abs(sample) + _BIAS_14_BIT, _LARGEST_14_BIT)
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 5
    step = (magnitude >> (segment + 1)) & 15
    sign = np.where(sample < 0, 0x80, 0)
    code: NDArray[np.uint8] = (~(sign | (segment << 4) | step) & 0xFF).astype(np.uint8)
    return code


_DECODE = _decode_table()
_SQUARES = np.square(_DECODE.astype(np.float32) / 32_768)
_ENCODE = _encode_table()  # indexed by the sample's bits read as unsigned


def decode(mulaw: bytes) -> bytes:
    """Convert µ-law (one byte a sample) to 16-bit little-endian PCM."""
    return _DECODE.take(np.frombuffer(mulaw, np.uint8)).astype("<i2", copy=False).tobytes()


def power(mulaw: bytes) -> float:
    """Return the mean square of µ-law samples; full scale is 1; 0 without samples."""
    return float(np.add.reduce(_SQUARES.take(np.frombuffer(mulaw, np.uint8)))) / max(1, len(mulaw))


def encode(pcm: bytes) -> bytes:
    """Convert 16-bit little-endian PCM to µ-law (one byte a sample).

    Raises:
        ValueError: when the bytes are not a whole number of samples.
    """
    return _ENCODE.take(np.frombuffer(pcm, "<u2")).tobytes()
