"""Progress of the engine's start, and a log line for each change of its health."""

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
        progress: the engine's last progress line.
        done: whether the start has succeeded; an engine that then accepts no calls has a defect.
        failure: why the server could not start, in one sentence; None otherwise.
        failed: set with it, so that open pages get the sentence before the server stops.
    """

    progress: str = ""
    done: bool = False
    failure: str | None = None
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    def fail(self, sentence: str) -> None:
        """Record that the server cannot start."""
        self.failure = sentence
        self.failed.set()

    async def run(self, engine: DuplexEngine, say: Progress) -> None:
        """Start the engine.

        Args:
            engine: not started yet.
            say: also receives each progress line.

        Raises:
            EngineUnavailable: one sentence that names the remedy.
        """

        def tell(line: str) -> None:
            self.progress = line
            say(line)

        try:
            await engine.start(tell)
        except EngineError:
            raise
        except BUGS as error:  # ours, or from a user's own engine
            logger.opt(exception=error).error("The engine {} did not start", engine.name)
            raise EngineUnavailable(
                f"The engine {engine.name} did not start ({describe_error(error)})."
            ) from error
        self.done = True


WATCH_S = 0.5


@asynccontextmanager
async def watching(engine: DuplexEngine) -> AsyncIterator[None]:
    """Run the engine's watchdog and log each change of its health while the block runs."""

    async def watch() -> None:
        log = EngineLog()
        while True:
            try:
                engine.watch()
                log.note(engine.error)
            except BUGS:  # of a user's own engine; the next check may succeed
                logger.exception("The engine {} cannot be watched", engine.name)
            await asyncio.sleep(WATCH_S)

    watchdog = asyncio.create_task(watch(), name="engine watchdog")
    try:
        yield
    finally:
        watchdog.cancel()


class EngineLog:
    """Logs once why the engine accepts no calls, and once when it accepts them again.

    Nothing is logged until the engine is ready for the first time: it reports its loading itself.
    """

    def __init__(self) -> None:
        self._was_ready = False  # whether it has ever been ready
        self._last: str | None = None  # the error logged last

    def note(self, error: str | None) -> None:
        """Process the engine's current error.

        Args:
            error: one sentence, or None while it accepts calls.
        """
        self._was_ready |= error is None
        if not self._was_ready or error == self._last:
            return
        self._last = error
        if error:
            logger.warning("The engine takes no calls: {}", error)
        else:
            logger.info("The engine takes calls again")
