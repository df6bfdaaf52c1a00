"""A call's queued words: added on the event loop, spoken by steps in the model's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from moshi_phone.engines.moshi.model.forced_text import ForcedTextScheduler, Word


class SpeechQueue:
    """The words queued for one call, and an event for their end.

    Args:
        scheduler: schedules the words over the steps.
        spell: tokenizes a text into words; raises ``ValueError`` for a text without any.
    """

    def __init__(self, scheduler: ForcedTextScheduler, spell: Callable[[str], list[Word]]) -> None:
        self._scheduler = scheduler
        self._spell = spell
        self._lock = threading.Lock()  # say() runs on the event loop, decide() in the model's thread
        self._said = asyncio.Event()  # event loop only; set while nothing is queued
        self._said.set()

    @property
    def is_over(self) -> bool:
        """Whether nothing is queued, so that the model need not be steered."""
        return self._scheduler.done

    def say(self, text: str) -> None:
        """Queue a text's words. On the event loop.

        Raises:
            ValueError: when the text has no words, or the queue would be too long.
        """
        words = self._spell(text)
        with self._lock:
            self._scheduler.say(words)
        self._said.clear()

    def stop(self) -> None:
        """Drop the words that have not begun. On the event loop."""
        with self._lock:
            self._scheduler.drop_waiting()

    def decide(self, drawn: int) -> int:
        """Map the drawn text token to the one to feed. In the model's thread."""
        with self._lock:
            return self._scheduler.decide(drawn)

    def step_given(self) -> None:
        """Set the event if the finished step was the last of the words. On the event loop."""
        if not self._said.is_set():
            with self._lock:
                over = self._scheduler.done
            if over:
                self._said.set()

    def end(self) -> None:
        """Wake all waiters: the call speaks no more words. On the event loop."""
        self._said.set()

    async def said(self) -> None:
        """Wait until all words have been spoken, or ``end`` is called."""
        await self._said.wait()
