"""``--on-end``: reports of ended calls, stored in a folder until they are delivered.

One file for each call. A file is complete or absent, and is deleted when the hook answers 2xx. So a restart
loses none, and a hook that gets a report twice (the process was killed between the answer and the deletion)
recognises it by its ``id``. Only a readable file that is not JSON is renamed (``.bad``): other read errors
may be temporary.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from loguru import logger

from moshi_phone.hooks.http import Hook, HookFailed
from moshi_phone.runtime.daemon_threads import in_daemon_thread
from moshi_phone.runtime.retries import ExponentialBackoff, Sleep

MAX_FILES = 10_000
"""Reports that may wait; beyond it the oldest is dropped, with a log line."""
PAUSES_SECS = (1.0, 5.0, 30.0, 60.0, 300.0, 900.0)
SEND_SECS = 10.0
_PART, _HELD = ".part", ".held"

T = TypeVar("T")


class _Unread(Exception):
    """A report cannot be read now; the message gives the reason."""


class Outbox:
    """Delivers reports of ended calls to a hook, the oldest first, until it accepts them.

    Args:
        hook: receives the reports.
        folder: of undelivered reports; created if missing.
        sleep: waits some seconds.
    """

    def __init__(self, hook: Hook, folder: Path, sleep: Sleep = asyncio.sleep) -> None:
        self._hook = hook
        self._folder = folder
        self._sleep = sleep
        self._added = asyncio.Event()  # set when a report was written, or found at startup
        self._emptied = asyncio.Event()  # set while no report waits; awaited by ``stop``
        self._sending: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with the reports of an earlier run.

        Raises:
            OSError: when the folder cannot be created.
        """
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        self._finish_parts()
        for held in self._folder.glob(f"*{_HELD}"):  # of a killed program: its events have no further data
            held.rename(held.with_suffix(".json"))
        self._added.set()
        self._sending = asyncio.create_task(self._send_all())

    async def stop(self, patience_secs: float = 2.0) -> None:
        """Send as many reports as possible in this time; the others stay in the folder for the next start."""
        if self._sending is None:
            return
        try:
            async with asyncio.timeout(patience_secs):
                await self._emptied.wait()
        except TimeoutError:
            logger.info("Undelivered --on-end reports in {}: {}", self._folder, len(self._files()))
        self._sending.cancel()
        await asyncio.wait([self._sending])

    async def add(self, event: Mapping[str, object]) -> None:
        """Queue an event for delivery; returns when it is on the disk."""
        try:
            await _on_disk(partial(self._write, {"id": secrets.token_hex(8), **event}))
        except OSError as error:
            logger.error("Cannot queue an --on-end report: {} cannot be written ({})", self._folder, error)
            return
        self._emptied.clear()
        self._added.set()

    async def hold(self, event: Mapping[str, object]) -> Path | None:
        """Store an event until ``release`` or the next start; return its path, or None on a write error."""
        try:
            return await _on_disk(partial(self._write, dict(event), _HELD))
        except OSError as error:
            logger.error("A report for --on-end waits in memory only: {} ({})", self._folder, error)
            return None

    async def release(self, held: Path | None, event: Mapping[str, object]) -> None:
        """Queue the final version of a held event.

        Args:
            held: the result of ``hold``.
            event: the event, with the same ``id`` as in ``hold``.
        """
        await self.add(event)
        if held is not None:
            with suppress(OSError):  # then the next start delivers it again, with the same id
                await _on_disk(partial(held.unlink, missing_ok=True))

    async def delete(self, call_sids: set[str]) -> None:
        """Delete the undelivered reports of these calls.

        Raises:
            OSError: when a report cannot be deleted.
        """

        def delete() -> None:
            for path in (*self._files(), *self._folder.glob(f"*{_HELD}")):
                with suppress(FileNotFoundError, ValueError):  # delivered meanwhile; not a report
                    if json.loads(path.read_text(encoding="utf-8")).get("call_sid") in call_sids:
                        path.unlink()

        await _on_disk(delete)

    def _write(self, what: dict[str, Any], ending: str = ".json") -> Path:
        files = self._files()
        for oldest in files[: max(0, len(files) - MAX_FILES + 1)]:
            oldest.unlink(missing_ok=True)
            logger.error("{} --on-end reports are waiting; dropped the oldest", MAX_FILES)
        # Sorting by name sorts by time; the id distinguishes reports of the same second.
        name = f"{what.get('ended_at', '')}-{what['id']}".replace(":", "-").replace("/", "-")
        # Renamed only when complete and synced, so that a crash leaves no partial report.
        part = self._folder / f"{name}{_PART}"
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(what, file, ensure_ascii=False)
                file.flush()
                # Before the rename, or a power cut could leave the name with an empty file.
                os.fsync(file.fileno())
            return part.rename(part.with_suffix(ending))
        except BaseException:  # for example, a full disk: do not leave part of a report
            with suppress(OSError):
                part.unlink()
            raise

    def _finish_parts(self) -> None:
        """Handle files of a crash: complete ones are queued, partial ones deleted."""
        for part in self._folder.glob(f"*{_PART}"):
            try:
                json.loads(part.read_text(encoding="utf-8"))
                part.rename(part.with_suffix(".json"))
            except ValueError:
                part.unlink(missing_ok=True)
            except OSError as error:
                logger.error("{} is incomplete, and cannot be deleted: {}", part, error)

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
        """Try one after the other; return whether any was accepted.

        An error answer for one does not delay the others; a hook that cannot be reached is not tried again
        for each of them.
        """
        taken, unread = False, list[str]()
        for path in waiting:
            try:
                await self._send(path)
            except _Unread as error:  # too many open files, a network disk that is briefly unavailable, …
                unread.append(f"{path.name} ({error})")
            except HookFailed as failure:
                logger.warning("--on-end did not accept {}: {}", path.name, failure)
                if not failure.answered:
                    break
            except OSError as error:  # a disk that is read-only for now must not end the sending for good
                logger.error("{} was delivered, but cannot be deleted: {}", path.name, error)
                break
            else:
                taken = True
        if unread:
            logger.error("--on-end reports that cannot be read for now: {}, {}", len(unread), unread[0])
        return taken

    async def _send(self, path: Path) -> None:
        try:
            what = json.loads(await _on_disk(partial(path.read_text, encoding="utf-8")))
        except FileNotFoundError:
            return  # somebody deleted it, or MAX_FILES were reached: there is nothing to send
        except OSError as error:
            raise _Unread(error.strerror or type(error).__name__) from error
        except ValueError as error:
            logger.error("{} is not valid JSON, and was renamed to .bad: {}", path, error)
            # Renamed for inspection: under its own name it would be read again for ever.
            try:
                await _on_disk(partial(path.rename, path.with_suffix(".bad")))
            except OSError as stuck:
                raise HookFailed(f"it can be neither read nor renamed ({stuck.strerror})") from stuck
            return
        # Deleted only after delivery: a crash in between delivers it twice, which its id shows.
        await self._hook.post(what)
        await _on_disk(partial(path.unlink, missing_ok=True))


async def _on_disk(work: Callable[[], T]) -> T:
    """Work with files in a thread that the process's end does not wait for: a disk may never answer."""
    return await in_daemon_thread(work, "outbox")
