"""Keys of the phone that do something: end the call, or put it through to a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import Frame, InputDTMFFrame

Action = Callable[[str], object]
"""Takes a sentence that says why."""


class DtmfActions:
    """Watches for keys: a monitor of a ``Tap``.

    Args:
        actions: what each key does, by ``0`` to ``9``, ``*`` or ``#``.
        on_key: is called for every key, before its action.
    """

    def __init__(self, actions: Mapping[str, Action], on_key: Callable[[], None] = lambda: None) -> None:
        self._on_key = on_key
        self._actions = {KeypadEntry(key): action for key, action in actions.items()}

    def observe(self, frame: Frame) -> None:
        """Do what a key asks for."""
        if isinstance(frame, InputDTMFFrame):
            self._on_key()
            if action := self._actions.get(frame.button):
                action(f"the caller pressed {frame.button.value}")

    def close(self) -> None:
        """Nothing to finish."""
