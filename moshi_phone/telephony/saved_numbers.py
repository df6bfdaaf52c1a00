"""What a number did before it was made to ring here, noted on disk: a crash must not lose it.

One file a number, in a folder that only this user can read. Whoever points a number holds its lock, which
the system takes back when the process dies, however it dies; so a file without a holder of its lock is that
of a run which ended without putting the number back.
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
    """Another process of this user points the number now."""


@dataclass(frozen=True, slots=True)
class SavedNumber:
    """A number that rings here, or was left ringing here.

    Attributes:
        account_sid: whose it is.
        sid: its name at Twilio (``PN…``).
        label: how it appears in the log.
        before: what it did before the first of our runs.
        ours: what we set, or tried to.
        pid: the process that did.
    """

    account_sid: str
    sid: str
    label: str
    before: VoiceSettings
    ours: tuple[VoiceSettings, ...] = ()
    pid: int = 0


class SavedNumbers:
    """The notes of one user of this machine.

    Args:
        folder: where they lie; by default where this system keeps the state of programs.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or user_state_path("moshi-phone", appauthor=False) / "numbers"

    def hold(self, sid: str) -> FileLock:
        """Take a number's lock; ``release()`` gives it back, and so does the end of this process.

        Raises:
            NumberHeld: when another process has it.
            OSError: when there can be no lock, because the folder cannot be written to.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not this thread's alone: it is taken in one of asyncio's threads, and given back on the event loop.
        lock = FileLock(self._path(sid, ".lock"), timeout=0, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise NumberHeld(sid) from error
        return lock

    def is_held(self, sid: str) -> bool:
        """Tell whether some process points the number now."""
        try:
            self.hold(sid).release()
        except NumberHeld:
            return True
        return False

    def read(self, sid: str) -> SavedNumber | None:
        """Give the note on a number; None where there is none, or one that cannot be read."""
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
        """Note a number, whole and on the disk when this returns.

        Raises:
            OSError: when it cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=self._folder, delete=False) as file:  # which is 0600
            try:
                json.dump(asdict(borrowed), file)
                file.flush()
                os.fsync(file.fileno())
                file.close()
                Path(file.name).replace(self._path(borrowed.sid, ".json"))
            except BaseException:
                with suppress(OSError):
                    Path(file.name).unlink()
                raise

    def forget(self, sid: str) -> None:
        """Take the note back: the number does again what it did before."""
        with suppress(OSError):
            self._path(sid, ".json").unlink()

    def of_account(self, account_sid: str) -> list[SavedNumber]:
        """Give the notes on all numbers of an account."""
        notes = (self.read(path.stem) for path in sorted(self._folder.glob("*.json")))
        return [note for note in notes if note is not None and note.account_sid == account_sid]

    def _path(self, sid: str, suffix: str) -> Path:
        return self._folder / ("".join(c for c in sid if c.isalnum()) + suffix)
