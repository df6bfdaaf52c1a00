from __future__ import annotations

import numpy as np
import pytest
from streamdouble import g711 as independent

from moshi_phone.audio import g711


def test_all_codes_decode_as_in_a_reference_implementation() -> None:
    codes = np.arange(256, dtype=np.uint8)
    ours = np.frombuffer(g711.decode(codes.tobytes()), "<i2")
    assert ours.tolist() == [independent.decode_scalar(int(code)) for code in codes]


def test_all_samples_encode_as_in_a_reference_implementation() -> None:
    samples = np.arange(-32_768, 32_768).astype("<i2")
    ours = np.frombuffer(g711.encode(samples.tobytes()), np.uint8)
    assert ours.tolist() == [independent.encode_scalar(int(sample)) for sample in samples]


def test_silence_is_silent() -> None:
    assert g711.decode(bytes([g711.SILENCE])) == b"\0\0"
    assert g711.encode(b"\0\0") == bytes([g711.SILENCE])


def test_an_incomplete_sample_is_rejected() -> None:
    with pytest.raises(ValueError, match="buffer size must be a multiple"):
        g711.encode(b"\0\0\0")
