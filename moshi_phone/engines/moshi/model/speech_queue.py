"""Words that a call was given to say: taken on the event loop, put into the model's mouth in its thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from moshi_phone.engines.moshi.model.forced_text import ForcedTextScheduler, Word


class SpeechQueue:
    """What one call is to say, and whether it has been said.

    Args:
        steering: decides which word goes into which step.
        spell: makes words of a text; raises ``ValueError`` where there are none in it.
    """

    def __init__(self, steering: ForcedTextScheduler, spell: Callable[[str], list[Word]]) -> None:
        self._steering = steering
        self._spell = spell
        self._lock = threading.Lock()  # between say(), on the event loop, and decide(), in the model's thread
        self._said = asyncio.Event()  # the event loop's own; set while there is nothing to say
        self._said.set()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to say, so that the model need not be steered."""
        return self._steering.done

    def say(self, text: str) -> None:
        """Add words to those that wait. On the event loop.

        Raises:
            ValueError: when there is nothing in the text to say, or too much would wait.
        """
        words = self._spell(text)
        with self._lock:
            self._steering.say(words)
        self._said.clear()

    def stop(self) -> None:
        """Drop the words that have not begun. On the event loop."""
        with self._lock:
            self._steering.drop_waiting()

    def decide(self, drawn: int) -> int:
        """Make of the text token that the model drew the one to feed. In the model's thread."""
        with self._lock:
            return self._steering.decide(drawn)

    def step_given(self) -> None:
        """Take note that one more step has come out. On the event loop."""
        if not self._said.is_set():
            with self._lock:
                over = self._steering.done
            if over:
                self._said.set()

    def end(self) -> None:
        """Let nobody wait any longer: nothing more will be said. On the event loop."""
        self._said.set()

    async def said(self) -> None:
        """Wait until all has been said, or nothing more will be."""
        await self._said.wait()
