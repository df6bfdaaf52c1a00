"""Keeps what the bot put into words, with the time of the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipecat.frames.frames import Frame, TextFrame

from records.transcript import Transcript


class Transcriber:
    """Gives the text that passes to a transcript: a observer of a ``Tap``.

    Args:
        transcript: is closed with the call. The call begins when this is made.
        now_s: the clock, in seconds; the event loop's own unless told otherwise.
    """

    def __init__(self, transcript: Transcript, now_s: Callable[[], float] | None = None) -> None:
        self._transcript = transcript
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        self._began_s = self._now_s()

    def observe(self, frame: Frame) -> None:
        """Take the words out of text frames."""
        if isinstance(frame, TextFrame):
            self._transcript.add(frame.text, self._now_s() - self._began_s)

    def close(self) -> None:
        """Finish the transcript."""
        self._transcript.close()
