"""Ends the process if a thread, a task that ignores its cancellation, or a disk operation does not end.

Python waits without limit for the threads of the loop's executor and for cancelled tasks. But a process must
end after a stop request and its cleanup.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from loguru import logger

LOG_SECS = 0.5  # time to write the last line, because a terminal may block


class LastResort:
    """Ends the process after some time, unless it is disarmed.

    Args:
        exit_process: ends it at once, with a code.
    """

    def __init__(self, exit_process: Callable[[int], None] = os._exit) -> None:
        self._exit_process = exit_process
        self._lock = threading.RLock()  # a signal handler may interrupt another call
        self._timer: threading.Timer | None = None  # a thread, because the event loop may hang
        self._due_s = 0.0  # of the timer: an earlier request replaces a later one

    def arm(self, secs: float, code: int) -> None:
        """End the process after some seconds. The earliest time counts, with its code.

        Args:
            secs: from now.
            code: the exit code.
        """
        with self._lock:
            due_s = time.monotonic() + secs
            if self._timer is not None and self._due_s <= due_s:
                return
            self.disarm()
            self._due_s = due_s
            self._timer = threading.Timer(secs, self._end, (code,))
            self._timer.daemon = True
            self._timer.start()

    def disarm(self) -> None:
        """Cancel the end by force: the process ends by itself."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _end(self, code: int) -> None:
        saying = threading.Thread(target=self._say, daemon=True)
        saying.start()
        saying.join(LOG_SECS)
        self._exit_process(code)

    @staticmethod
    def _say() -> None:
        names = ", ".join(thread.name for thread in threading.enumerate() if not thread.daemon)
        logger.error("Cleanup did not finish; ending the process by force. Threads still running: {}", names)


last_resort = LastResort()
"""This process's instance."""
