"""The seam between two codecs of a call: it is inaudible, and both get every frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.audio.silence import SILENT_FRAME
from moshi_phone.engines import parrot
from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.codec.codec_pool import MimiPool
from moshi_phone.engines.moshi.codec.handover import Handover
from moshi_phone.engines.moshi.codec.stream_codecs import DECODER_PRIMING_FRAMES, ENCODER_PRIMING_FRAMES
from tests.engines.moshi.codec.test_codec import snr_db
from tests.support.waiting import wait_until

SEAM_FRAME = ENCODER_PRIMING_FRAMES + 25  # the old codec has heard more than the new one
AFTER_FRAMES = 20
DECODES_FROM = SEAM_FRAME - DECODER_PRIMING_FRAMES - 25  # likewise
SILENT_FROM = SEAM_FRAME + 8


def speech(frames: int) -> list[Pcm]:
    """Return the parrot's greeting, repeated with pauses."""
    pcm, _ = soundfile.read(parrot.GREETING_FILE, dtype="float32")
    spoken = np.concatenate([pcm, np.zeros(FRAME_SAMPLES * 12, np.float32)])
    return list(np.resize(spoken, frames * FRAME_SAMPLES).reshape(frames, FRAME_SAMPLES))


@pytest.mark.cpu_bound
def test_the_seam_is_inaudible(mimi_file: Path) -> None:
    """The same tokens, and a difference far below a phone's noise, in speech and in silence."""
    pool = MimiPool(mimi_file, size=2, limit_frames=4000)
    pool.fill()
    frames = speech(SILENT_FROM) + [SILENT_FRAME] * (SEAM_FRAME + AFTER_FRAMES - SILENT_FROM)
    unbroken = pool.take()
    heard = [unbroken.encode(pcm) for pcm in frames]
    said = [unbroken.decode(tokens) for tokens in heard[DECODES_FROM:]]

    def after_seam(
        inputs: list[Any], step: Callable[[Mimi, Any], Any], prime: Callable[[Mimi, Any], None], frames: int
    ) -> list[Any]:
        old, spare = pool.take(), pool.take_spare()
        assert spare is not None
        handover = Handover(pool, spare, inputs[SEAM_FRAME - frames : SEAM_FRAME], prime)
        wait_until(lambda: handover._is_level, within_secs=600)  # of little CPU beside other tests
        assert handover.take_over(old) is spare
        stepped = [step(spare, frame) for frame in inputs[SEAM_FRAME:]]
        pool.give_back(spare)
        wait_until(lambda: pool.ready == 2)
        return stepped

    encoded = after_seam(frames, Mimi.encode, Mimi.prime_encoder, ENCODER_PRIMING_FRAMES)
    np.testing.assert_array_equal(encoded, heard[SEAM_FRAME:])
    decoded = after_seam(heard, Mimi.decode, Mimi.prime_decoder, DECODER_PRIMING_FRAMES)
    differences_db = list(map(snr_db, decoded, said[SEAM_FRAME - DECODES_FROM :]))
    assert min(differences_db) > 60, differences_db  # the noise of G.711 is at 38 dB
