"""Tests the model after a lost call, and again with growing pauses until it works."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from loguru import logger

from moshi_phone.engines.moshi.model_thread import Job, ModelThread
from moshi_phone.runtime.retries import CallLater, Cancel, ExponentialBackoff, later

if TYPE_CHECKING:
    from loguru import Logger


class Recovery:
    """Takes the engine out of service after a lost call, until a test of the model succeeds.

    A failure may be temporary (another program had the accelerator's memory), so it never gives up.

    Args:
        thread: the model's.
        try_model: runs a step of the model, in its thread; raises if it fails.
        patience_s: seconds after which a test counts as hung.
        run_later: schedules the next test.
    """

    def __init__(
        self,
        thread: ModelThread,
        try_model: Callable[[], None],
        patience_s: float,
        run_later: CallLater = later,
    ) -> None:
        self._thread = thread
        self._try_model = try_model
        self._patience_s = patience_s
        self._run_later = run_later
        # Guards all below: begin() is called from any thread, tests run in the model's, close() on the loop.
        self._lock = threading.Lock()
        self._pauses = ExponentialBackoff()  # between tests
        self._error: str | None = None  # set while the engine is out of service
        # Ends the pause before the next test; set only after a failed one.
        self._cancel: Cancel | None = None
        self._closed = False  # no further test is scheduled

    @property
    def error(self) -> str | None:
        """Why the engine takes no call now, in one sentence without exception text; None if it does."""
        return self._error

    def begin(self, reason: str, lost_call: Logger = logger) -> None:
        """Test the model. Returns at once; may be called from any thread.

        Args:
            reason: one sentence.
            lost_call: logs for the call that was lost.
        """
        lost_call.warning("Testing the model before it takes a new call: {}", reason)
        with self._lock:
            if self._error is not None or self._closed:
                return  # a test is running already
            self._error = "A call was lost; the model is tested before it takes a new one."
        self._try()

    def close(self) -> None:
        """End the tests."""
        with self._lock:
            self._closed = True
            if self._cancel is not None:
                self._cancel()

    def _try(self) -> None:
        self._thread.submit(Job(self._run, self._failed, self, self._patience_s))

    def _run(self) -> None:
        if self._closed:
            return
        self._try_model()
        with self._lock:
            # A pause was set, so a test had failed. A first test that succeeds is not worth a log line.
            failed_before, self._error = self._cancel is not None, None
            self._cancel = None
            self._pauses.reset()
        if failed_before:
            logger.info("Moshi's model works again.")

    def _failed(self, error: BaseException) -> None:
        with self._lock:
            if self._closed:
                return
            pause_secs = self._pauses.next_secs()
            self._error = f"Moshi's model does not work; the next test is in {pause_secs:g} s."
            self._cancel = self._run_later(pause_secs, self._try)
        logger.error("Moshi's model does not work ({}); next test in {:g} s", error, pause_secs)
