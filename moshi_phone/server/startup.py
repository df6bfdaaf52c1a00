"""How far the engine has come on its way to the first call."""

from __future__ import annotations

from dataclasses import dataclass

from loguru import logger

from moshi_phone.engines.duplex import DuplexEngine, EngineError, EngineUnavailable, Progress
from moshi_phone.runtime.errors import describe_error


@dataclass
class Startup:
    """What is told of the engine's start.

    Attributes:
        progress: the last line that the engine said of it.
        done: whether it has come to its end, so that an engine that takes no calls has a defect.
    """

    progress: str = ""
    done: bool = False

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
        except Exception as error:  # a bug, ours or of an engine of the user's own
            logger.opt(exception=error).error("The engine {} did not start", engine.name)
            raise EngineUnavailable(
                f"The engine {engine.name} did not start ({describe_error(error)})."
            ) from error
        self.done = True
