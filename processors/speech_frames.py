"""Converts the bot's speech into pipecat's own frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pipecat.frames.frames import Frame, SpeechOutputAudioRawFrame, TTSStartedFrame, TTSStoppedFrame

from moshi_phone.audio import pcm
from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from moshi_phone.audio.silence import is_silent
from moshi_phone.audio.speech_activity import Change, SpeechActivity

SPEECH_PAUSE_S = 0.8  # silence that ends the bot's speech, as in pipecat's own full-duplex service


class SpeechFrames:
    """Creates a ``SpeechOutputAudioRawFrame`` from each 80 ms, with frames at the start and end of speech.

    ``TTSStartedFrame`` precedes the first audio that is not silent, ``TTSStoppedFrame`` follows 0.8 s of
    silence.
    """

    def __init__(self) -> None:
        self._activity = SpeechActivity(SPEECH_PAUSE_S)  # whether the bot is speaking

    @property
    def is_speaking(self) -> bool:
        """Whether speech has started and not ended."""
        return self._activity.speaking

    def of_audio(self, audio: Pcm) -> Iterator[Frame]:
        """Yield the frames of the next 80 ms.

        Args:
            audio: ``DuplexStep.pcm``, float32 ``[1920]``, 24 kHz.

        Raises:
            ValueError: if the array has another shape or dtype: from an engine of the user's own.
        """
        if audio.dtype != np.float32 or audio.shape != (FRAME_SAMPLES,):
            raise ValueError(
                f"expected float32 [{FRAME_SAMPLES}] in DuplexStep.pcm, got {audio.dtype} {list(audio.shape)}"
            )
        change = self._activity.add(loud=not is_silent(audio), audio_s=FRAME_MS / 1000)
        if change is Change.STARTED:
            started = TTSStartedFrame()
            started.append_to_context = False  # an aggregator opens its turn at the text frames
            yield started
        yield SpeechOutputAudioRawFrame(pcm.to_bytes(audio), SAMPLE_RATE_HZ, num_channels=1)
        if change is Change.STOPPED:
            yield TTSStoppedFrame()

    def finish(self) -> Iterator[Frame]:
        """Yield the frame that ends open speech at the end of the call."""
        if self._activity.stop():
            yield TTSStoppedFrame()
