"""The caller ends the call with a key of the phone."""

from __future__ import annotations

from collections.abc import Callable

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import Frame, InputDTMFFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor


class HangupKey(FrameProcessor):
    """Watches for one key, and changes nothing.

    Args:
        key: ``0`` to ``9``, ``*`` or ``#``.
        hang_up: is called when that key is pressed, with a sentence that says so.
    """

    def __init__(self, key: str, hang_up: Callable[[str], None]) -> None:
        super().__init__(enable_direct_mode=True)
        self._key = KeypadEntry(key)
        self._hang_up = hang_up

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputDTMFFrame) and frame.button is self._key:
            self._hang_up(f"the caller pressed {self._key.value}")
        await self.push_frame(frame, direction)
