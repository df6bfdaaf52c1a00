"""What the log has of the engine's health: a line for each change, however often somebody asks."""

from __future__ import annotations

from loguru import logger


class EngineLog:
    """Logs why the engine takes no calls, once, and once that it takes them again.

    Until it has been ready for the first time it loads, and tells of that itself.
    """

    def __init__(self) -> None:
        self._was_ready = False
        self._last: str | None = None

    def note(self, error: str | None) -> None:
        """Take what the engine says of itself now.

        Args:
            error: one sentence, or None while it takes calls.
        """
        self._was_ready |= error is None
        if not self._was_ready or error == self._last:
            return
        self._last = error
        if error:
            logger.warning("The engine takes no calls: {}", error)
        else:
            logger.info("The engine takes calls again")
