"""Adds both sides' words to the transcript, with their time in the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipecat.frames.frames import Frame, InterimTranscriptionFrame, TranscriptionFrame, TTSTextFrame

from moshi_phone.records.transcript import Transcript
from processors.frames import StreamLostFrame, StreamResumedFrame
from processors.transcription_frames import CALLER, HEARD_S


class Transcriber:
    """Adds the passing words to a transcript. A monitor for ``Tap``.

    While there is no stream, the bot's words are omitted, because the caller does not hear them.

    Args:
        transcript: closed with the call. The call's time starts with this object.
        now_s: clock, in seconds; by default, the event loop's.
    """

    def __init__(self, transcript: Transcript, now_s: Callable[[], float] | None = None) -> None:
        self._transcript = transcript
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        self._began_s = self._now_s()
        self._is_heard = True  # False while the stream is lost

    def observe(self, frame: Frame) -> None:
        """Add the bot's words when spoken, and the caller's when transcribed."""
        if isinstance(frame, TTSTextFrame):
            if self._is_heard:
                self._transcript.add(frame.text, self._call_s())
        elif isinstance(frame, StreamLostFrame | StreamResumedFrame):
            self._is_heard = isinstance(frame, StreamResumedFrame)
        elif isinstance(frame, InterimTranscriptionFrame) and frame.user_id == CALLER:
            heard_s = frame.metadata[HEARD_S]
            for piece in frame.result or ():
                said_s = self._call_s() - (heard_s - piece.at_s)  # the recognizer lags behind the audio
                self._transcript.add(piece.text, max(0.0, said_s), "caller")
        elif isinstance(frame, TranscriptionFrame) and frame.user_id != CALLER:  # from another recognizer
            self._transcript.add(f" {frame.text}", self._call_s(), "caller")

    def _call_s(self) -> float:
        return self._now_s() - self._began_s

    def close(self) -> None:
        """Close the transcript."""
        self._transcript.close()
