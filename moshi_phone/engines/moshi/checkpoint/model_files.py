"""Finds a model's files in a folder, in the hub's cache or on the hub, and replaces damaged ones.

What the files of a model are, and whether they fit together, is the reader's: a function that finds them by
name, and raises ``Unfit`` for the first that does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi.checkpoint.checkpoint import Unfit
from moshi_phone.engines.moshi.checkpoint.hub import HubRepo, is_repo

T = TypeVar("T")

NOT_THIS = "the file is whole, but not one for this program"


def _none_is_ours(_: Path) -> bool:
    return False


@dataclass(frozen=True)
class ModelFiles:
    """The files of the model that an option names.

    Attributes:
        given: what the option says: a folder, a repo of the hub, or nothing.
        option: its name.
        default_repo: gives the repo that stands for nothing; may raise ``EngineUnavailable``.
        example: a repo to name in an error.
        download: the command that fetches the files.
        is_ours: tells whether a file was made by this program, so that it may be made again.
    """

    given: str
    option: str
    default_repo: Callable[[], str]
    example: str
    download: str
    is_ours: Callable[[Path], bool] = _none_is_ours

    @property
    def folder(self) -> Path | None:
        """The folder that is named; None where it is none."""
        folder = _path(self.given)
        return folder if self.given and _is(folder, Path.is_dir) else None

    @property
    def repo(self) -> str:
        """The repo that is named, or the default one.

        Raises:
            EngineUnavailable: when what is named is neither a folder nor a repo.
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
        """Give the path of a file that a folder must hold.

        Raises:
            EngineUnavailable: when it is not there.
        """
        if not (folder / name).is_file():
            raise EngineUnavailable(
                f"{folder / name} is missing; put it there, or leave out {self.option} for {self.example}."
            )
        return folder / name

    def read_folder(self, read: Callable[[], T]) -> T:
        """Read the files of a folder; one of ours that does not fit is made again.

        Raises:
            EngineUnavailable: with a sentence that names the file and the remedy.
        """
        remade = set[Path]()
        while True:
            try:
                return read()
            except Unfit as error:
                if not self.is_ours(error.path) or error.path in remade:
                    raise _explained(error, "copy it there again") from error
                with suppress(OSError):  # a folder of somebody else's
                    error.path.unlink()
                remade.add(error.path)

    def read_cached(self, read: Callable[[], T]) -> T:
        """Read what is here.

        Raises:
            EngineUnavailable: when a file that is here is damaged.
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
        """Read a repo's files: with what is here alone if that is all, so that not one request is made.

        Args:
            hub: the repo.
            read: reads what is here; None where something is missing.
            fetch: reads all of it, and fetches what is missing.
            repair: fetch damaged files again, instead of raising.

        Raises:
            EngineUnavailable: with a sentence that names the file and the remedy.
        """
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
    except OSError as stuck:  # a cache that is read-only
        raise EngineUnavailable(
            f"{error}; it would be made again, but cannot be deleted ({stuck.strerror}): delete it, or set "
            "HF_HOME to a folder that can be written to."
        ) from stuck


def _path(given: str) -> Path:
    try:
        return Path(given).expanduser()
    except RuntimeError:  # the home of a user whom the system does not know
        return Path(given)


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except OSError:  # a name that is too long, a folder that nobody may look into
        return False
