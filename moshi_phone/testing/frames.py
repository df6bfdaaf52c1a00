"""A caller's audio as the frames that the line's transport gives, and the line's answer as samples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, OutputAudioRawFrame
from pipecat.tests.utils import SleepFrame

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import FRAME_MS, PHONE_RATE_HZ
from processors.frames import MulawInputFrame, MulawOutputFrame

_FRAME_BYTES = PHONE_RATE_HZ * FRAME_MS // 1000


def caller_frames(samples: NDArray[np.float32]) -> list[Frame]:
    """Give what ``run_test`` is to send for a caller who speaks at the pace of a phone.

    Args:
        samples: float32 ``[samples]``, 8 kHz, -1 to 1; a rest that fills no frame is left out.

    Returns:
        A ``MulawInputFrame`` of 80 ms and a pause of as long, in turn.
    """
    mulaw = g711.encode(pcm.to_bytes(samples))
    frames: list[Frame] = []
    for at in range(0, len(mulaw) - _FRAME_BYTES + 1, _FRAME_BYTES):
        frames += [MulawInputFrame(mulaw[at : at + _FRAME_BYTES]), SleepFrame(sleep=FRAME_MS / 1000)]
    return frames


def heard(frames: Iterable[Frame]) -> NDArray[np.float32]:
    """Give the audio in these frames one after the other, float32 ``[samples]``.

    Args:
        frames: with µ-law (8 kHz) or with PCM, as ``FakeTransport.sent`` holds them; others count nothing.
    """
    pieces = [
        pcm.to_float(g711.decode(frame.mulaw) if isinstance(frame, MulawOutputFrame) else frame.audio)
        for frame in frames
        if isinstance(frame, (MulawOutputFrame, OutputAudioRawFrame))
    ]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
