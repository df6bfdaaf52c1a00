"""Puts the passing audio on the call's time line.

pipecat's own ``AudioBufferProcessor`` is not used: it holds the whole call in memory, resamples, and aligns
the sides by when frames pass, not by when the phone plays them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import AudioRawFrame, Frame, InputAudioRawFrame, OutputAudioRawFrame

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.records.call_audio import CallAudio
from processors.frames import MulawInputFrame, MulawOutputFrame, StreamLostFrame, StreamResumedFrame


class Recorder:
    """A monitor for ``Tap``, one at each end: incoming audio was said, outgoing audio is heard.

    The taps may be where the audio is µ-law or PCM, of any rate and number of channels. No stage behind the
    outgoing tap may change the audio's length. While there is no stream, the bot's audio is not recorded,
    because the caller does not hear it.

    Args:
        audio: closed with the call.
    """

    def __init__(self, audio: CallAudio) -> None:
        self._audio = audio
        self._is_heard = True  # False while the stream is lost

    def observe(self, frame: Frame) -> None:
        """Record audio in either direction."""
        if isinstance(frame, MulawOutputFrame):
            if self._is_heard:
                self._audio.heard(np.frombuffer(frame.pcm, "<i2"), PHONE_RATE_HZ)
        elif isinstance(frame, MulawInputFrame):
            self._audio.said(np.frombuffer(frame.pcm, "<i2"), PHONE_RATE_HZ)
        elif isinstance(frame, StreamLostFrame | StreamResumedFrame):
            self._is_heard = isinstance(frame, StreamResumedFrame)
        elif isinstance(frame, OutputAudioRawFrame):
            if self._is_heard:
                self._audio.heard(_mono(frame), frame.sample_rate)
        elif isinstance(frame, InputAudioRawFrame):
            self._audio.said(_mono(frame), frame.sample_rate)

    def close(self) -> None:
        """Close the time line."""
        self._audio.close()


def _mono(frame: AudioRawFrame) -> NDArray[np.int16]:
    # Half a sample at the end would make frombuffer raise; monitors must not raise.
    whole = len(frame.audio) // (2 * frame.num_channels) * 2 * frame.num_channels
    samples = np.frombuffer(frame.audio[:whole], "<i2")
    if frame.num_channels == 1:
        return samples
    mean: NDArray[np.int16] = samples.reshape(-1, frame.num_channels).mean(axis=1).astype(np.int16)
    return mean
