"""Writer of all calls' files in one thread, so that a slow disk delays no call.

The event loop only queues data. The queue is bounded to 16 MB, or eight minutes of one recording. If the disk
stalls for longer, a file whose next piece does not fit ends there, valid up to that point; the call
continues.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from moshi_phone.records import private_files
from moshi_phone.records.private_files import FILE_MODE
from moshi_phone.runtime.call_log import call_logger

MAX_WAITING_BYTES = 16 * 1024 * 1024
AT_EXIT_SECS = 2.0  # limit for the final flush when the process exits
_JOB_BYTES = 512  # overhead of a job, so that many small pieces are bounded too


class Sink(Protocol):
    """Writes a file's pieces. Used in the writer's thread only."""

    def write(self, data: bytes) -> None:
        """Write a piece, after which the file is valid."""

    def close(self) -> None:
        """Close the file."""


class FileWriter:
    """Owns the thread and its queue; the thread starts with the first file.

    Args:
        max_waiting_bytes: limit of the queue, over all files.
    """

    def __init__(self, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self.max_waiting_bytes = max_waiting_bytes
        # Guards all state below, between the event loop and the writer's thread.
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Callable[[], None], int]] = deque()  # in order; each with its size
        self._waiting_bytes = 0  # including the running job
        self._thread: threading.Thread | None = None  # started by the first job

    def open(self, path: Path, make_sink: Callable[[BinaryIO], Sink], what: str) -> WrittenFile:
        """Return a file that is created, written and closed later, in order. Does not block.

        Args:
            path: its name; ``NAME-2`` if that is taken.
            make_sink: makes the sink of its pieces, from the new file.
            what: kind of file, for the log: ``recording``.
        """
        return WrittenFile(self, path, make_sink, what)

    def put(self, job: Callable[[], None], data_bytes: int, *, is_last: bool = False) -> bool:
        """Queue a job if it fits; return whether it did. Does not block.

        Args:
            job: runs in the writer's thread; must not raise.
            data_bytes: size of its data.
            is_last: the last job of a file, which is always accepted.
        """
        size = data_bytes + _JOB_BYTES
        with self._changed:
            if not is_last and self._waiting_bytes + size > self.max_waiting_bytes:
                return False
            self._jobs.append((job, size))
            self._waiting_bytes += size
            if self._thread is None:
                # A daemon: a disk that never answers must not keep the process from ending.
                self._thread = threading.Thread(target=self._run, name="file-writer", daemon=True)
                self._thread.start()
                atexit.register(self.flush, AT_EXIT_SECS)
            self._changed.notify_all()  # all: flush() waits at the same condition
        return True

    def flush(self, within_secs: float) -> bool:
        """Wait until everything is written; return whether it was within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting_bytes, within_secs)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs)
                job, size = self._jobs.popleft()
            job()
            with self._changed:
                self._waiting_bytes -= size  # after the job: its data were in memory until now
                self._changed.notify_all()


class WrittenFile:
    """One file of one call. An error is logged once and ends the file, never the call.

    Args:
        writer: in whose thread it is written.
        path: its name.
        make_sink: makes the sink of its pieces, from the new file.
        what: kind of file, for the log.
    """

    def __init__(
        self, writer: FileWriter, path: Path, make_sink: Callable[[BinaryIO], Sink], what: str
    ) -> None:
        self.path = path
        self._writer = writer
        self._make_sink = make_sink
        self._what = what
        self._log = call_logger()  # bound here, so that lines from the writer's thread name the call
        self.is_lost = False  # whether nothing could be written
        self._is_made = self._is_written = False
        self._sink: Sink | None = None  # used in the writer's thread only
        self._failed = False  # writer's thread: drop queued pieces
        self._begun = False  # a piece was queued
        self._over = False  # no more pieces are accepted

    def write(self, data: bytes) -> None:
        """Queue a piece; the first one creates the file."""
        if self._over:
            return
        if self._writer.put(lambda: self._write(data), len(data)):
            self._begun = True
        else:
            self._log.error(
                "The {} {} ends here: the disk is too slow, and {} MB are waiting",
                self._what,
                self.path,
                self._writer.max_waiting_bytes // 1_000_000,
            )
            self.close()

    def close(self) -> None:
        """Accept no more pieces, and close the file after the queued ones. May be called twice."""
        if not self._over and self._begun:
            self._writer.put(self._close, 0, is_last=True)
        self._over = True

    def discard(self) -> None:
        """Stop writing, drop queued pieces, and delete the file."""
        self._over = self.is_lost = True
        if self._begun:
            self._writer.put(self._delete, 0, is_last=True)

    def rewrite(self, change: Callable[[bytes], bytes]) -> None:
        """Replace a closed file's content atomically."""
        if self._begun:
            self._writer.put(partial(self._rewrite, change), 0, is_last=True)

    # The methods below run in the writer's thread.

    def _rewrite(self, change: Callable[[bytes], bytes]) -> None:
        if self._failed:
            return
        part = self.path.with_name(f"{self.path.name}.part")
        try:
            data = change(self.path.read_bytes())
            with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, FILE_MODE), "wb") as file:
                file.write(data)
            part.replace(self.path)
        except OSError as error:
            self._log.error("The {} {} stays without its last lines: {}", self._what, self.path, error)
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _delete(self) -> None:
        self._failed = True
        self._close()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            self._log.error("The {} {} could not be deleted: {}", self._what, self.path, error)

    def _write(self, data: bytes) -> None:
        if self._failed:
            return
        try:
            if self._sink is None:
                self.path, file = private_files.create(self.path)
                self._is_made = True
                self._sink = self._make_sink(file)
            self._sink.write(data)
            self._is_written = True
        except Exception as error:  # any failure must not end the thread, which serves all files
            self._log.error("The {} {} ends here: {}", self._what, self.path, error)
            self._failed = self._over = True  # seen by the event loop at the next piece: a bool needs no lock
            self._close()
            if not self._is_written:  # for example, an empty file on a full disk
                self.is_lost = True
                if self._is_made:  # otherwise the path may be another stream's file
                    with suppress(OSError):
                        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close()
            except OSError as error:
                self._log.error("The {} {} could not be closed: {}", self._what, self.path, error)
