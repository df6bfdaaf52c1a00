"""Text tokens of the listening model as words of the caller, with the time at which they were said."""

from __future__ import annotations

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.engines.duplex import CallerText
from moshi_phone.engines.moshi.model.detokenizer import Detokenizer


class CallerWords:
    """One caller's words.

    Args:
        detokenizer: of the listening model's own tokens.
        audio_delay_s: how long after the sound the model writes (``stt_config.audio_delay_seconds``).
    """

    def __init__(self, detokenizer: Detokenizer, audio_delay_s: float) -> None:
        self._detokenizer = detokenizer
        self._audio_delay_s = audio_delay_s

    def push(self, token: int, frame: int) -> CallerText | None:
        """Give what a token adds, or None.

        Args:
            token: as ``ListeningSession.step`` gave it.
            frame: the number of the caller's frame that it was given for, from 0.
        """
        text = self._detokenizer.push(token)
        if not text:
            return None
        return CallerText(text, max(0.0, (frame + 1) * FRAME_MS / 1000 - self._audio_delay_s))
