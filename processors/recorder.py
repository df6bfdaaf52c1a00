"""Puts the audio that passes on the call's time line.

pipecat's own ``AudioBufferProcessor`` is not used: it keeps the whole call in memory, resamples, and
lines the sides up by when frames pass, not by when the phone plays them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import AudioRawFrame, Frame, InputAudioRawFrame, OutputAudioRawFrame

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.records.call_audio import CallAudio
from processors.frames import MulawInputFrame, MulawOutputFrame, StreamLostFrame, StreamResumedFrame


class Recorder:
    """A monitor of a ``Tap``, one at each end of the line: what comes in was said, what goes out is heard.

    The taps may stand where the audio is µ-law or where it is PCM, of any rate and number of channels. What
    goes out must be seen where nothing behind changes its length. What the bot says while there is no stream
    is not recorded: nobody hears it.

    Args:
        audio: is closed with the call.
    """

    def __init__(self, audio: CallAudio) -> None:
        self._audio = audio
        self._is_heard = True

    def observe(self, frame: Frame) -> None:
        """Take audio, whichever way it goes."""
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
    # Half a sample at the end would make frombuffer raise, and a monitor must never raise.
    whole = len(frame.audio) // (2 * frame.num_channels) * 2 * frame.num_channels
    samples = np.frombuffer(frame.audio[:whole], "<i2")
    if frame.num_channels == 1:
        return samples
    mean: NDArray[np.int16] = samples.reshape(-1, frame.num_channels).mean(axis=1).astype(np.int16)
    return mean
