"""Keeps what both sides said, with the time of the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipecat.frames.frames import Frame, InterimTranscriptionFrame, TranscriptionFrame, TTSTextFrame

from moshi_phone.records.transcript import Transcript
from processors.frames import StreamLostFrame, StreamResumedFrame
from processors.transcription_frames import CALLER, HEARD_S


class Transcriber:
    """Gives the words that pass to a transcript: a monitor of a ``Tap``.

    What the bot says while there is no stream is left out: nobody hears it.

    Args:
        transcript: is closed with the call. The call begins when this is made.
        now_s: the clock, in seconds; the event loop's own unless told otherwise.
    """

    def __init__(self, transcript: Transcript, now_s: Callable[[], float] | None = None) -> None:
        self._transcript = transcript
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        self._began_s = self._now_s()
        self._is_heard = True

    def observe(self, frame: Frame) -> None:
        """Take the bot's words as they are spoken, and the caller's as they are made out."""
        if isinstance(frame, TTSTextFrame):
            if self._is_heard:
                self._transcript.add(frame.text, self._call_s())
        elif isinstance(frame, StreamLostFrame | StreamResumedFrame):
            self._is_heard = isinstance(frame, StreamResumedFrame)
        elif isinstance(frame, InterimTranscriptionFrame) and frame.user_id == CALLER:
            heard_s = frame.metadata[HEARD_S]
            for piece in frame.result or ():
                said_s = self._call_s() - (heard_s - piece.at_s)
                self._transcript.add(piece.text, max(0.0, said_s), "caller")
        elif isinstance(frame, TranscriptionFrame) and frame.user_id != CALLER:  # of some other recognizer
            self._transcript.add(f" {frame.text}", self._call_s(), "caller")

    def _call_s(self) -> float:
        return self._now_s() - self._began_s

    def close(self) -> None:
        """Finish the transcript."""
        self._transcript.close()
