"""Records a call: what the caller said (left) and what the caller heard (right), on one time line.

pipecat's own ``AudioBufferProcessor`` is not used: it keeps the whole call in memory, resamples, and
lines the sides up by when frames pass, not by when the phone plays them.
"""

from __future__ import annotations

from pipecat.frames.frames import Frame

from processors.frames import MulawInputFrame, MulawOutputFrame
from records.recording import Recording


class Recorder:
    """Gives the audio that passes to a recording: a observer of a ``Tap``, one at each end of the line.

    Args:
        recording: is closed with the call.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def observe(self, frame: Frame) -> None:
        """Take µ-law frames, whichever way they go."""
        if isinstance(frame, MulawOutputFrame):
            self._recording.heard(frame.mulaw)
        elif isinstance(frame, MulawInputFrame):
            self._recording.said(frame.mulaw)

    def close(self) -> None:
        """Finish the recording."""
        self._recording.close()
