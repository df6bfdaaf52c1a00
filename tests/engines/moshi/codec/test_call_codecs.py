from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moshi_phone.engines.duplex import EngineBusy
from moshi_phone.engines.moshi.codec.call_codecs import CallCodecs
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS, LISTENING_CODEBOOKS


@pytest.mark.cpu_bound
def test_one_pool_serves_both_directions(mimi_file: Path) -> None:
    codecs = CallCodecs.for_calls(mimi_file, 1)
    assert codecs.encoders is codecs.decoders
    assert not codecs.is_ready
    codecs.fill()
    assert (codecs.decoders.ready, codecs.is_ready) == (3, True)
    encoder, decoder = codecs.take()
    assert not codecs.is_ready
    encoder.release()
    assert codecs.is_ready  # with the spare one
    decoder.release()
    assert codecs.decoders.ready == 3


@pytest.mark.cpu_bound
def test_a_call_without_a_decoder_returns_its_encoder(mimi_file: Path) -> None:
    codecs = CallCodecs.for_calls(mimi_file, 1)
    codecs.fill()
    for _ in range(2):
        codecs.decoders.take()
    with pytest.raises(EngineBusy):
        codecs.take()
    assert codecs.encoders.ready == 1


@pytest.mark.cpu_bound
def test_listening_uses_more_codebooks_than_speaking(mimi_file: Path) -> None:
    codecs = CallCodecs.for_calls(mimi_file, 1, listening=True)
    codecs.fill()
    assert (codecs.encoders.ready, codecs.decoders.ready) == (2, 2)  # one of each is spare
    encoder, decoder = codecs.take()
    heard = encoder.encode(np.zeros(1920, np.float32))
    assert heard.shape == (LISTENING_CODEBOOKS,)
    assert decoder.decode(heard[:CODEBOOKS]).shape == (1920,)
