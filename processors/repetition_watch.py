"""Detects a bot that repeats itself."""

from __future__ import annotations

from loguru import logger
from pipecat.frames.frames import Frame, TTSTextFrame

from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.conversation.repetition import RepetitionDetector


class RepetitionWatch:
    """Counts and logs the start of each repetition. A monitor for ``Tap``.

    Args:
        metrics: of the call.
    """

    def __init__(self, metrics: ConversationMetrics) -> None:
        self._metrics = metrics
        self._detector = RepetitionDetector()

    def observe(self, frame: Frame) -> None:
        """Process the bot's words as they are spoken."""
        if isinstance(frame, TTSTextFrame) and self._detector.add(frame.text):
            self._metrics.repetitions += 1
            logger.warning("The bot repeats itself")  # without the words, which must not be logged

    def close(self) -> None:
        """Do nothing: the metrics remain."""
