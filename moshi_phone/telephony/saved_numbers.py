"""Stores a number's previous routing on disk before we change it, so that a crash cannot lose it.

One file per number, in a directory that only this user can read. The process that routes a number holds the
number's lock, which the operating system releases when the process dies. So a file whose lock is free belongs
to a run that ended without restoring the number.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from filelock import FileLock, Timeout
from loguru import logger
from platformdirs import user_state_path

from moshi_phone.telephony.rest import VoiceSettings


class NumberHeld(Exception):
    """Another process of this user routes the number."""


@dataclass(frozen=True, slots=True)
class SavedNumber:
    """A number that rings here, or was left ringing here.

    Attributes:
        account_sid: SID of its account.
        sid: SID of the number (``PN…``).
        label: the number as shown in the log.
        before: its settings before the first of our runs.
        ours: the settings that we have set, or tried to.
        pid: the process that set them.
    """

    account_sid: str
    sid: str
    label: str
    before: VoiceSettings
    ours: tuple[VoiceSettings, ...] = ()
    pid: int = 0


class SavedNumbers:
    """The saved numbers of one user of this machine.

    Args:
        folder: their directory; by default in the system's directory for the state of programs.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or user_state_path("moshi-phone", appauthor=False) / "numbers"

    def hold(self, sid: str) -> FileLock:
        """Acquire a number's lock. ``release()`` or the end of this process releases it.

        Raises:
            NumberHeld: if another process has it.
            OSError: if the lock file cannot be created.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not bound to a thread: it is acquired in one of asyncio's threads and released on the event loop.
        lock = FileLock(self._path(sid, ".lock"), timeout=0, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise NumberHeld(sid) from error
        return lock

    def is_held(self, sid: str) -> bool:
        """Return whether a process routes the number now."""
        try:
            self.hold(sid).release()
        except NumberHeld:
            return True
        return False

    def read(self, sid: str) -> SavedNumber | None:
        """Return the saved data of a number; None if there is none, or it is unreadable."""
        path = self._path(sid, ".json")
        try:
            noted = json.loads(path.read_text())
            noted["before"] = VoiceSettings(**noted["before"])
            noted["ours"] = tuple(VoiceSettings(**one) for one in noted["ours"])
            return SavedNumber(**noted)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("{} cannot be read ({}); it has a number's previous routing", path, error)
            return None

    def write(self, borrowed: SavedNumber) -> None:
        """Save a number atomically; it is on the disk on return.

        Raises:
            OSError: if it cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=self._folder, delete=False) as file:  # created with mode 0600
            try:
                json.dump(asdict(borrowed), file)
                file.flush()
                os.fsync(file.fileno())  # survives a power failure
                file.close()
                Path(file.name).replace(self._path(borrowed.sid, ".json"))  # atomic on one file system
            except BaseException:
                with suppress(OSError):
                    Path(file.name).unlink()
                raise

    def forget(self, sid: str) -> None:
        """Delete the saved routing: the number has been restored."""
        with suppress(OSError):
            self._path(sid, ".json").unlink()

    def of_account(self, account_sid: str) -> list[SavedNumber]:
        """Return the saved numbers of an account."""
        notes = (self.read(path.stem) for path in sorted(self._folder.glob("*.json")))
        return [note for note in notes if note is not None and note.account_sid == account_sid]

    def _path(self, sid: str, suffix: str) -> Path:
        # the SID becomes part of a path
        return self._folder / ("".join(c for c in sid if c.isalnum()) + suffix)
