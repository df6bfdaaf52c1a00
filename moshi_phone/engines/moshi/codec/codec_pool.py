"""Codecs that are ready before a call needs them: loaded in threads, kept clean, replaced when used up."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path

from loguru import logger

from moshi_phone.engines.duplex import EngineBusy, EngineUnavailable
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS, LIMIT_FRAMES, Mimi
from moshi_phone.runtime.errors import first_line
from moshi_phone.runtime.retries import CallLater, Cancel, ExponentialBackoff, later

CLOSE_PATIENCE_S = 3.0  # loading one takes a second


class MimiPool:
    """Codecs that are loaded and clean.

    Args:
        path: Mimi's weights.
        size: how many to keep; two for each call.
        limit_frames: how many frames each can take in its life.
        codebooks: how many each writes and reads.
        run_later: runs the next try at loading one after a pause.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        limit_frames: int = LIMIT_FRAMES,
        *,
        codebooks: int = CODEBOOKS,
        run_later: CallLater = later,
    ) -> None:
        self.limit_frames = limit_frames
        self._codebooks = codebooks
        self._path = path
        self._size = size
        self._run_later = run_later
        self._ready: list[Mimi] = []
        self._lock = threading.Lock()
        self._wanted = 0  # those that are being loaded in place of others, one after the other
        self._pauses = ExponentialBackoff()
        self._cancel: Cancel | None = None
        self._closed = False
        self._loading: list[threading.Thread] = []

    @property
    def ready(self) -> int:
        """How many can be taken now."""
        return len(self._ready)

    def fill(self) -> None:
        """Load until the pool is full, or closed; takes a second for each.

        Raises:
            EngineUnavailable: when Mimi cannot be loaded.
        """
        while self.ready < self._size and not self._closed:
            try:
                mimi = Mimi(self._path, self.limit_frames, self._codebooks)
            except Exception as error:  # rustymimi raises what it likes
                reason = first_line(error)
                raise EngineUnavailable(f"{self._path} cannot be loaded by Mimi: {reason}") from error
            self._keep(mimi)

    def take(self) -> Mimi:
        """Take the one that has been used least.

        Raises:
            EngineBusy: when there is none.
        """
        with self._lock:
            if not self._ready:
                raise EngineBusy("The codec of an earlier call is not free yet; try again in a second.")
            return self._ready.pop(0)

    def give_back(self, mimi: Mimi) -> None:
        """Clean it for the next call, and have it replaced in the background if it is near its limit."""
        if mimi.left_frames > 1:
            mimi.clean()
            self._keep(mimi)
        if mimi.near_limit:
            self.replace()

    def close(self) -> None:
        """Load no more, and wait for what is being loaded: a thread in Rust aborts a program that ends."""
        with self._lock:
            self._closed = True
            if self._cancel is not None:
                self._cancel()
            loading = list(self._loading)
        for thread in loading:
            thread.join(CLOSE_PATIENCE_S)

    def load_async(self) -> Future[Mimi]:
        """Load another one in a thread of its own."""
        result: Future[Mimi] = Future()

        def load() -> None:
            try:
                result.set_result(Mimi(self._path, self.limit_frames, self._codebooks))
            except BaseException as error:
                result.set_exception(error)

        thread = threading.Thread(target=load, name="mimi-load", daemon=True)
        with self._lock:
            self._loading = [one for one in self._loading if one.is_alive()] + [thread]
            thread.start()
        return result

    def replace(self) -> None:
        """Load one, in the background, in place of one that is near its limit or will not come back.

        It is tried until it is there: what fails (memory, files) may be well again in a second.
        """
        with self._lock:
            self._wanted = min(self._wanted + 1, self._size)
            if self._wanted > 1 or self._closed:
                return  # the one under way will be followed by this one
        self._load_next()

    def _load_next(self) -> None:
        self.load_async().add_done_callback(self._loaded)

    def _loaded(self, loading: Future[Mimi]) -> None:
        if error := loading.exception():
            with self._lock:
                if self._closed:
                    return
                pause_secs = self._pauses.next_secs()
                self._cancel = self._run_later(pause_secs, self._load_next)
            logger.error(
                "Mimi cannot be loaded ({}); it is tried again in {:g} s", first_line(error), pause_secs
            )
            return
        self._keep(loading.result())
        with self._lock:
            self._pauses.reset()
            self._wanted -= 1
            if not self._wanted or self._closed:
                return
        self._load_next()

    def _keep(self, mimi: Mimi) -> None:
        with self._lock:
            self._ready.append(mimi)
            self._ready.sort(key=lambda one: -one.left_frames)
            del self._ready[self._size :]
