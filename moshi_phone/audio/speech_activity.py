"""Where speech begins and ends in a continuous stream that is mostly silence. Pure."""

from __future__ import annotations

from enum import Enum


class Change(Enum):
    """The change caused by a block of audio."""

    STARTED = "started"
    STOPPED = "stopped"


class SpeechActivity:
    """Follows a stream block by block: speech begins with a block that is loud, and ends after a pause.

    Args:
        pause_s: the shortest silence that ends it.

    Attributes:
        speaking: whether there is speech now, including its short pauses.
    """

    def __init__(self, pause_s: float) -> None:
        self.speaking = False
        self._pause_s = pause_s
        self._silent_s = 0.0  # since the last loud block, while speaking

    def add(self, *, loud: bool, audio_s: float) -> Change | None:
        """Process the next block; return the change.

        Args:
            loud: whether there is speech in it.
            audio_s: its duration.
        """
        if loud:
            self._silent_s = 0.0
            if not self.speaking:
                self.speaking = True
                return Change.STARTED
        elif self.speaking:
            self._silent_s += audio_s
            if self._silent_s >= self._pause_s - 1e-9:  # sums of 0.08 are not exact
                return self.stop()
        return None

    def stop(self) -> Change | None:
        """End it now."""
        if not self.speaking:
            return None
        self.speaking = False
        self._silent_s = 0.0
        return Change.STOPPED
