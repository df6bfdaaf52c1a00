"""How the engine's start goes, and a line in the log for each change of its health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from loguru import logger

from moshi_phone.engines.duplex import BUGS, DuplexEngine, EngineError, EngineUnavailable, Progress
from moshi_phone.runtime.errors import describe_error


@dataclass
class Startup:
    """Progress of the engine's start.

    Attributes:
        progress: the last line that the engine said of it.
        done: whether it has come to its end, so that an engine that takes no calls has a defect.
        failure: why the server could not be started, in a sentence; None where it could.
        failed: set with it: whoever follows the start gets to hear the sentence before the server is gone.
    """

    progress: str = ""
    done: bool = False
    failure: str | None = None
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    def fail(self, sentence: str) -> None:
        """Take note that the server cannot be started."""
        self.failure = sentence
        self.failed.set()

    async def run(self, engine: DuplexEngine, say: Progress) -> None:
        """Start the engine.

        Args:
            engine: not started yet.
            say: takes each line of progress, too.

        Raises:
            EngineUnavailable: with one sentence that names the remedy.
        """

        def tell(line: str) -> None:
            self.progress = line
            say(line)

        try:
            await engine.start(tell)
        except EngineError:
            raise
        except BUGS as error:  # ours or of an engine of the user's own
            logger.opt(exception=error).error("The engine {} did not start", engine.name)
            raise EngineUnavailable(
                f"The engine {engine.name} did not start ({describe_error(error)})."
            ) from error
        self.done = True


WATCH_S = 0.5


@asynccontextmanager
async def watching(engine: DuplexEngine) -> AsyncIterator[None]:
    """Let the engine act on what hangs, and log each change of its health, while the block runs."""

    async def watch() -> None:
        log = EngineLog()
        while True:
            try:
                engine.watch()
                log.note(engine.error)
            except BUGS:  # of an engine of the user's own: the next look may find it well
                logger.exception("The engine {} cannot be watched", engine.name)
            await asyncio.sleep(WATCH_S)

    watchdog = asyncio.create_task(watch(), name="engine watchdog")
    try:
        yield
    finally:
        watchdog.cancel()


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
