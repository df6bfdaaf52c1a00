"""A pool of codecs: loaded in advance in threads, reset after use, replaced at the end of their life."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from loguru import logger

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.engines.duplex import EngineBusy, EngineUnavailable
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS, LIMIT_FRAMES, Mimi
from moshi_phone.runtime.errors import first_line
from moshi_phone.runtime.retries import CallLater, Cancel, ExponentialBackoff, later

CLOSE_PATIENCE_S = 3.0  # loading one takes a second
HANDOVER_FRAMES = 80 * 1000 // FRAME_MS  # then a codec holds 65 MB, and another one takes over
DIRECTIONS_PER_SPARE = 8  # each handover occupies a spare for some of those 80 seconds; ten on a slow CPU


class MimiPool:
    """Loaded, clean codecs: for calls, and spare ones that take over from those in use.

    Codecs are loaded without running calls, if possible: rustymimi holds the interpreter's lock, which stops
    all calls for one to three seconds.

    Args:
        path: Mimi's weights.
        size: number of codecs for calls: two for each.
        limit_frames: number of frames in a codec's life.
        codebooks: number of codebooks of each.
        handover_frames: number of frames after which a codec in use hands over to a spare.
        run_later: schedules retries of loading.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        limit_frames: int = LIMIT_FRAMES,
        *,
        codebooks: int = CODEBOOKS,
        handover_frames: int = HANDOVER_FRAMES,
        run_later: CallLater = later,
    ) -> None:
        self.limit_frames = limit_frames
        self.handover_frames = handover_frames
        self.spares = spares_for(size)
        self._codebooks = codebooks
        self._path = path
        self._size = size + self.spares
        self._run_later = run_later
        self._ready: list[Mimi] = []  # least used first
        self._lent: set[Mimi] = set()  # to calls, and as spares
        self._lent_spares: set[Mimi] = set()  # the spares among them: they must not take the calls' codecs
        self._lock = threading.Condition()  # guards all of these, because calls' threads return codecs
        self._wanted = 0  # replacements being loaded, one after the other
        self._pauses = ExponentialBackoff()  # between failed attempts to load one
        self._cancel: Cancel | None = None  # ends the pause before the next attempt
        self._closed = False  # set by close(): nothing is loaded any more
        self._threads: list[threading.Thread] = []  # threads inside Rust, which close() waits for

    @property
    def ready(self) -> int:
        """Number of codecs available now, including spare ones."""
        return len(self._ready)

    def fill(self) -> None:
        """Load codecs until the pool is full or closed; a second or more each.

        Raises:
            EngineUnavailable: when Mimi cannot be loaded.
        """
        while self.ready < self._size and not self._closed:
            try:
                mimi = Mimi(self._path, self.limit_frames, self._codebooks)
            except Exception as error:  # rustymimi documents no exceptions
                reason = first_line(error)
                raise EngineUnavailable(f"{self._path} cannot be loaded by Mimi: {reason}") from error
            self._keep(mimi)

    def take(self) -> Mimi:
        """Take the least used codec.

        Raises:
            EngineBusy: when none is free.
        """
        with self._lock:
            if not self._ready:
                raise EngineBusy("The codec of an earlier call is not free yet; try again in a second.")
            return self._lend()

    def give_back(self, mimi: Mimi) -> None:
        """Reset a codec for the next call, or replace it if it is used up. Takes two steps of a codec."""
        used_up = mimi.is_used_up
        if not used_up:
            try:
                mimi.clean()
            except Exception as error:  # rustymimi documents no exceptions
                logger.warning("A codec failed and is being replaced: {}", first_line(error))
                used_up = True
        if used_up:
            mimi.free()
        with self._lock:
            self._lent.discard(mimi)
        if used_up:
            self.replace()
        else:
            self._keep(mimi)
            self._replace_in_a_pause()

    def lose(self, mimi: Mimi) -> None:
        """Replace a codec that will not be returned."""
        with self._lock:
            self._lent.discard(mimi)
        self.replace()

    def take_spare(self) -> Mimi | None:
        """Take a spare codec; None if all spares are lent."""
        with self._lock:
            if not self._ready or len(self._lent_spares) >= self.spares or self._closed:
                return None
            mimi = self._lend()
            self._lent_spares.add(mimi)
            return mimi

    def return_spare(self, spare: Mimi, instead: Mimi) -> None:
        """End a spare's loan, by returning ``instead``: the spare itself, or the codec that it replaced."""
        try:
            self.give_back(instead)
        finally:
            self._end_loan(spare)

    def lose_spare(self, spare: Mimi) -> None:
        """Replace a spare that failed."""
        self._end_loan(spare)
        self.lose(spare)

    @contextmanager
    def borrow(self) -> Iterator[Mimi]:
        """Lend a clean spare codec, waiting until there is one."""
        with self._lock:
            while (spare := self.take_spare()) is None:
                if self._closed:
                    raise EngineUnavailable("Moshi has been stopped.")
                self._lock.wait()
        try:
            yield spare
        finally:
            self.return_spare(spare, spare)

    def close(self) -> None:
        """Stop loading, and wait for running loads: a thread inside Rust would abort the ending program."""
        with self._lock:
            self._closed = True
            if self._cancel is not None:
                self._cancel()
            threads = list(self._threads)
            self._lock.notify_all()
        for thread in threads:
            thread.join(CLOSE_PATIENCE_S)

    def run(self, work: Callable[[], None], name: str) -> None:
        """Run work with a codec in a thread that ``close`` waits for."""
        # A daemon: a codec that hangs in Rust must not keep the program from ending.
        thread = threading.Thread(target=work, name=name, daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
            thread.start()

    def load_async(self) -> Future[Mimi]:
        """Load a codec in its own thread."""
        result: Future[Mimi] = Future()

        def load() -> None:
            try:
                result.set_result(Mimi(self._path, self.limit_frames, self._codebooks))
            except BaseException as error:
                result.set_exception(error)

        self.run(load, name="mimi-load")
        return result

    def replace(self) -> None:
        """Load a codec in the background, to replace a used up or lost one.

        Failures (memory, files) may be temporary, so loading is retried until it succeeds.
        """
        with self._lock:
            self._wanted = min(self._wanted + 1, self._size)
            if self._wanted > 1 or self._closed:
                return  # the running load starts the next one
        self._load_next()

    def _replace_in_a_pause(self) -> None:
        """Replace a half-used codec while there are no calls."""
        with self._lock:
            if self._lent or self._wanted or not any(mimi.is_half_used for mimi in self._ready):
                return
        self.replace()

    def _load_next(self) -> None:
        self.load_async().add_done_callback(self._loaded)

    def _loaded(self, loading: Future[Mimi]) -> None:
        if error := loading.exception():
            with self._lock:
                if self._closed:
                    return
                pause_secs = self._pauses.next_secs()
                self._cancel = self._run_later(pause_secs, self._load_next)
            logger.error("Mimi cannot be loaded ({}); next try in {:g} s", first_line(error), pause_secs)
            return
        self._keep(loading.result())
        with self._lock:
            self._pauses.reset()
            self._wanted -= 1
            goes_on = self._wanted and not self._closed
        if goes_on:
            self._load_next()
        else:
            self._replace_in_a_pause()

    def _lend(self) -> Mimi:
        mimi = self._ready.pop(0)
        self._lent.add(mimi)
        return mimi

    def _end_loan(self, spare: Mimi) -> None:
        with self._lock:
            self._lent_spares.discard(spare)
            self._lock.notify_all()

    def _keep(self, mimi: Mimi) -> None:
        with self._lock:
            self._ready.append(mimi)
            # Least used first, so that a long call gets the one with the longest life.
            self._ready.sort(key=lambda one: -one.left_frames)
            surplus = self._ready[self._size :]
            del self._ready[self._size :]
            self._lock.notify_all()
        # Outside the lock: freeing half a gigabyte takes a moment.
        for one in surplus:
            one.free()


def spares_for(directions: int) -> int:
    """Return the number of spare codecs for a number of directions."""
    return -(-directions // DIRECTIONS_PER_SPARE)
