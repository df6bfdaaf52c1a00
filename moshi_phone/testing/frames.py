"""A caller's audio as frames of the transport, and the answer as samples."""

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
    """Return the frames with which ``run_test`` sends a caller's audio in real time.

    Args:
        samples: float32 ``[samples]``, 8 kHz, -1 to 1; an incomplete last frame is omitted.

    Returns:
        ``MulawInputFrame``s of 80 ms, each followed by a pause of 80 ms.
    """
    mulaw = g711.encode(pcm.to_bytes(samples))
    frames: list[Frame] = []
    for at in range(0, len(mulaw) - _FRAME_BYTES + 1, _FRAME_BYTES):
        frames += [MulawInputFrame(mulaw[at : at + _FRAME_BYTES]), SleepFrame(sleep=FRAME_MS / 1000)]
    return frames


def heard(frames: Iterable[Frame]) -> NDArray[np.float32]:
    """Return the audio of these frames in one piece, float32 ``[samples]``.

    Args:
        frames: with µ-law (8 kHz) or PCM, as in ``FakeTransport.sent``; others are ignored.
    """
    pieces = [
        pcm.to_float(g711.decode(frame.mulaw) if isinstance(frame, MulawOutputFrame) else frame.audio)
        for frame in frames
        if isinstance(frame, (MulawOutputFrame, OutputAudioRawFrame))
    ]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
