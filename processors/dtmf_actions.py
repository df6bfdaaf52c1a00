"""Actions on phone keys: end the call, or transfer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import Frame, InputDTMFFrame

Action = Callable[[str], object]
"""Takes the reason, one sentence for the log."""


class DtmfActions:
    """Runs actions on keys. A monitor for ``Tap``.

    Args:
        actions: action of each key ``0`` to ``9``, ``*`` or ``#``.
        on_key: called for every key, before its action.
    """

    def __init__(self, actions: Mapping[str, Action], on_key: Callable[[], None] = lambda: None) -> None:
        self._on_key = on_key
        self._actions = {KeypadEntry(key): action for key, action in actions.items()}

    def observe(self, frame: Frame) -> None:
        """Run the action of a key."""
        if isinstance(frame, InputDTMFFrame):
            self._on_key()
            if action := self._actions.get(frame.button):
                action(f"the caller pressed {frame.button.value}")

    def close(self) -> None:
        """Do nothing: no state to release."""
