"""``--on-end``: what is told of calls that are over, kept in a folder until it was taken.

One file a call. A file is whole or not there; it goes when the hook answers 2xx. So a restart loses none, and
a hook that is told twice (we were killed between its answer and the file's end) can tell by the ``id``. Only
what can be read and is no JSON is put aside (``.bad``): a disk or a process at its limits may read it later.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from loguru import logger

from moshi_phone.hooks.http import Hook, HookFailed
from moshi_phone.runtime.daemon_threads import in_daemon_thread
from moshi_phone.runtime.retries import ExponentialBackoff

MAX_FILES = 10_000
"""What may wait; then the oldest goes, and the log says so."""
PAUSES_SECS = (1.0, 5.0, 30.0, 60.0, 300.0, 900.0)
SEND_SECS = 10.0
_PART = ".part"

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


class _Unread(Exception):
    """A report that cannot be read now; the text says why."""


class Outbox:
    """Tells a hook of calls that are over, the oldest first, until it takes them.

    Args:
        hook: is told.
        folder: where what was not taken waits; made if need be.
        sleep: waits some seconds.
    """

    def __init__(self, hook: Hook, folder: Path, sleep: Sleep = asyncio.sleep) -> None:
        self._hook = hook
        self._folder = folder
        self._sleep = sleep
        self._added = asyncio.Event()  # a report was written, or the start found some
        self._emptied = asyncio.Event()  # nothing waits: what ``stop`` waits for
        self._sending: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with what an earlier run has left.

        Raises:
            OSError: when the folder cannot be made.
        """
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        self._finish_parts()
        self._added.set()
        self._sending = asyncio.create_task(self._send_all())

    async def stop(self, patience_secs: float = 2.0) -> None:
        """Send what can be sent at once; the rest waits in the folder for the next start."""
        if self._sending is None:
            return
        try:
            async with asyncio.timeout(patience_secs):
                await self._emptied.wait()
        except TimeoutError:
            logger.info("Calls that wait in {} to be told to --on-end: {}", self._folder, len(self._files()))
        self._sending.cancel()
        await asyncio.wait([self._sending])

    async def add(self, event: Mapping[str, object]) -> None:
        """Keep an event until it is delivered; returns when it is on the disk."""
        try:
            await _on_disk(partial(self._write, {"id": secrets.token_hex(8), **event}))
        except OSError as error:
            logger.error("A call cannot be told to --on-end: {} cannot be written ({})", self._folder, error)
            return
        self._emptied.clear()
        self._added.set()

    async def delete(self, call_sids: set[str]) -> None:
        """Delete what waits to be told of these calls.

        Raises:
            OSError: when something cannot be deleted.
        """

        def delete() -> None:
            for path in self._files():
                with suppress(FileNotFoundError, ValueError):  # delivered meanwhile; no report
                    if json.loads(path.read_text(encoding="utf-8")).get("call_sid") in call_sids:
                        path.unlink()

        await _on_disk(delete)

    def _write(self, what: dict[str, Any]) -> None:
        files = self._files()
        for oldest in files[: max(0, len(files) - MAX_FILES + 1)]:
            oldest.unlink(missing_ok=True)
            logger.error("{} calls wait to be told to --on-end; the oldest is forgotten", MAX_FILES)
        # Sorted by name they are sorted by time; the id keeps two of one second apart.
        name = f"{what.get('ended_at', '')}-{what['id']}".replace(":", "-").replace("/", "-")
        # Under another name until it is whole and on the disk: a crash must leave nothing half told.
        part = self._folder / f"{name}{_PART}"
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(what, file, ensure_ascii=False)
                file.flush()
                # Before the rename, or a power cut could leave the name with an empty file.
                os.fsync(file.fileno())
            part.rename(part.with_suffix(".json"))
        except BaseException:  # a full disk: words and numbers of half a report must not stay
            with suppress(OSError):
                part.unlink()
            raise

    def _finish_parts(self) -> None:
        """See to what a crash left half written: what is whole after all is told, the rest is deleted."""
        for part in self._folder.glob(f"*{_PART}"):
            try:
                json.loads(part.read_text(encoding="utf-8"))
                part.rename(part.with_suffix(".json"))
            except ValueError:
                part.unlink(missing_ok=True)
            except OSError as error:
                logger.error("{} was left half written, and cannot be deleted: {}", part, error)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.json") if not path.is_dir())

    async def _send_all(self) -> None:
        # One backoff for the hook, not one a report: they fail for the same reason.
        pauses = ExponentialBackoff(PAUSES_SECS)
        while True:
            await self._added.wait()
            self._added.clear()
            while waiting := await _on_disk(self._files):
                if await self._send_some(waiting):
                    pauses.reset()
                else:
                    await self._sleep(pauses.next_secs())
            if not self._added.is_set():  # one may have come while the folder was being looked at
                self._emptied.set()

    async def _send_some(self, waiting: list[Path]) -> bool:
        """Try one after the other; says whether any was taken.

        One that the hook answers with an error does not keep the others waiting; a hook that cannot be
        reached is not asked again for each of them.
        """
        taken, unread = False, list[str]()
        for path in waiting:
            try:
                await self._send(path)
            except _Unread as error:  # too many open files, a network's disk that is gone for a moment, …
                unread.append(f"{path.name} ({error})")
            except HookFailed as failure:
                logger.warning("--on-end did not take {}: {}", path.name, failure)
                if not failure.answered:
                    break
            except OSError as error:  # a disk that is read-only for now must not end the sending for good
                logger.error("{} cannot be taken out of the folder, and is told again: {}", path.name, error)
                break
            else:
                taken = True
        if unread:
            logger.error(
                "Reports to --on-end that cannot be read now, and stay: {}, {}", len(unread), unread[0]
            )
        return taken

    async def _send(self, path: Path) -> None:
        try:
            what = json.loads(await _on_disk(partial(path.read_text, encoding="utf-8")))
        except FileNotFoundError:
            return  # somebody has taken it out, or MAX_FILES were reached: nothing is left to tell
        except OSError as error:
            raise _Unread(error.strerror or type(error).__name__) from error
        except ValueError as error:
            logger.error("{} cannot be read, and is put aside: {}", path, error)
            # Kept for whoever wants to know, but out of the way: it would be read again for ever.
            try:
                await _on_disk(partial(path.rename, path.with_suffix(".bad")))
            except OSError as stuck:
                raise HookFailed(f"it can be neither read nor put aside ({stuck.strerror})") from stuck
            return
        # Removed only when it was taken: a crash in between tells it twice, which its id shows.
        await self._hook.post(what)
        await _on_disk(partial(path.unlink, missing_ok=True))


async def _on_disk(work: Callable[[], T]) -> T:
    """Work with files in a thread that the process's end does not wait for: a disk may never answer."""
    return await in_daemon_thread(work, "outbox")
