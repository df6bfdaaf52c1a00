"""One codec's thread in one call: it runs the stage that needs the codec, and gives the codec back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from moshi_phone.engines.moshi.codec.stream_codecs import Decoder, Encoder


class CoderThread:
    """Runs a stage from the call's start to its end. Made on the event loop.

    Args:
        name: of the stage, as it is told of: ``encoder``.
        coder: released in this thread when the work is over, so that no two threads ever use it.
        work: returns at the call's end.
        failed: called in this thread with what the work raised.
        tell: runs something on the event loop.

    Attributes:
        coder: may hang in the work for ever: then ``released`` never comes.
        released: set when the codec is back in its pool, clean.
    """

    def __init__(
        self,
        name: str,
        coder: Encoder | Decoder,
        work: Callable[[], None],
        *,
        failed: Callable[[str, Exception], None],
        tell: Callable[[Callable[[], object]], None],
    ) -> None:
        self.coder = coder
        self.released = asyncio.Event()
        self._name = name
        self._work = work
        self._failed = failed
        self._tell = tell
        # A daemon: a codec that hangs in Rust must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=f"moshi-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self._failed(f"the {self._name}", error)
        finally:
            self.coder.release()
            self._tell(self.released.set)
