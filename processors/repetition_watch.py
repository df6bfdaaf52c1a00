"""Notices a bot that says the same over and over."""

from __future__ import annotations

from loguru import logger
from pipecat.frames.frames import Frame, TTSTextFrame

from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.conversation.repetition import RepetitionDetector


class RepetitionWatch:
    """Counts and logs it when the bot's words begin to repeat themselves: a monitor of a ``Tap``.

    Args:
        metrics: of the call.
    """

    def __init__(self, metrics: ConversationMetrics) -> None:
        self._metrics = metrics
        self._detector = RepetitionDetector()

    def observe(self, frame: Frame) -> None:
        """Take the bot's words as they are spoken."""
        if isinstance(frame, TTSTextFrame) and self._detector.add(frame.text):
            self._metrics.repetitions += 1
            logger.warning("The bot repeats itself")  # not its words, which no log may hold

    def close(self) -> None:
        """Nothing to finish: the metrics stay."""
