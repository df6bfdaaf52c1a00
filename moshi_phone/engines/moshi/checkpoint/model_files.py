"""Search for a model's files in a folder, in the hub's cache or on the hub, with replacement of damaged ones.

The reader is a function that finds a model's files by name and checks them. It raises ``Unfit`` for the first
unusable file.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi.checkpoint.hub import HubRepo, is_repo

T = TypeVar("T")

NOT_THIS = "the file is whole, but not one for this program"


class Unfit(Exception):
    """A file that cannot be used.

    Attributes:
        path: the file.
        is_damaged: whether the file is truncated or unreadable. Otherwise it is intact, but belongs to
            another model.
    """

    def __init__(self, path: Path, why: str, *, is_damaged: bool = False) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.is_damaged = is_damaged


def _none_is_ours(_: Path) -> bool:
    return False


@dataclass(frozen=True)
class ModelFiles:
    """The files of the model selected by an option.

    Attributes:
        given: the option's value: a folder, a repo of the hub, or empty.
        option: the option's name, for messages.
        default_repo: returns the repo for an empty value; may raise ``EngineUnavailable``.
        example: a repo's name, for messages.
        download: the command that fetches the files, for messages.
        is_ours: whether this program wrote a file, so that it can be deleted and made again.
    """

    given: str
    option: str
    default_repo: Callable[[], str]
    example: str
    download: str
    is_ours: Callable[[Path], bool] = _none_is_ours

    @property
    def folder(self) -> Path | None:
        """The selected folder; None if the value is not a folder."""
        folder = _path(self.given)
        return folder if self.given and _is(folder, Path.is_dir) else None

    @property
    def repo(self) -> str:
        """The selected repo, or the default.

        Raises:
            EngineUnavailable: when the value is neither a folder nor a repo.
        """
        repo = self.given or self.default_repo()
        if _is(_path(repo), Path.is_file):
            raise EngineUnavailable(f"{repo} is a file; {self.option} takes the folder that it is in.")
        if not is_repo(repo):
            raise EngineUnavailable(
                f"There is no folder {repo}; {self.option} takes a folder, "
                f"or a repo of the hub such as {self.example}."
            )
        return repo

    def required(self, folder: Path, name: str) -> Path:
        """Return the path of a required file in a folder.

        Raises:
            EngineUnavailable: when it is missing.
        """
        if not (folder / name).is_file():
            raise EngineUnavailable(
                f"{folder / name} is missing; put it there, or leave out {self.option} for {self.example}."
            )
        return folder / name

    def read_folder(self, read: Callable[[], T]) -> T:
        """Read a folder's files. An unfit file that this program wrote is deleted, and made again.

        Raises:
            EngineUnavailable: with a sentence that names the file and the remedy.
        """
        # Each file is remade once, so that a reader that always fails ends the loop.
        remade = set[Path]()
        while True:
            try:
                return read()
            except Unfit as error:
                if not self.is_ours(error.path) or error.path in remade:
                    raise _explained(error, "copy it there again") from error
                with suppress(OSError):  # the folder may not be writable
                    error.path.unlink()
                remade.add(error.path)

    def read_cached(self, read: Callable[[], T]) -> T:
        """Read the files on this machine.

        Raises:
            EngineUnavailable: when a file is damaged.
        """
        try:
            return read()
        except Unfit as error:
            raise self._damaged(error) from error

    def read_repo(
        self,
        hub: HubRepo,
        read: Callable[[], T | None],
        fetch: Callable[[], T],
        *,
        repair: bool,
    ) -> T:
        """Read a repo's files. If all are cached, no request is made.

        Args:
            hub: the repo.
            read: reads the cached files; returns None if one is missing.
            fetch: reads all files, and fetches missing ones.
            repair: fetch damaged files again, instead of raising.

        Raises:
            EngineUnavailable: with a sentence that names the file and the remedy.
        """
        # Each file is repaired once, so that the loop ends.
        repaired = set[str]()
        while True:
            try:
                found = read()
                return fetch() if found is None else found
            except Unfit as error:
                file = error.path.name
                if self.is_ours(error.path) and file not in repaired:
                    _delete(error)
                elif file not in repaired and not repair:
                    raise self._damaged(error) from error
                elif file in repaired or not hub.fetch_if_different(file):
                    raise EngineUnavailable(
                        f"{error}; {hub.name} holds it like this, try another {self.option}."
                    ) from error
                repaired.add(file)

    def _damaged(self, error: Unfit) -> EngineUnavailable:
        return _explained(error, f"run '{self.download}' to fetch it again")


def _explained(error: Unfit, remedy: str) -> EngineUnavailable:
    return EngineUnavailable(f"{error}; {remedy if error.is_damaged else NOT_THIS}.")


def _delete(error: Unfit) -> None:
    try:
        error.path.unlink()
    except OSError as stuck:  # for example, a read-only cache
        raise EngineUnavailable(
            f"{error}; it would be made again, but cannot be deleted ({stuck.strerror}): delete it, or set "
            "HF_HOME to a folder that can be written to."
        ) from stuck


def _path(given: str) -> Path:
    try:
        return Path(given).expanduser()
    except RuntimeError:  # "~user" of an unknown user
        return Path(given)


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except OSError:  # a name too long, or a folder without permission
        return False
