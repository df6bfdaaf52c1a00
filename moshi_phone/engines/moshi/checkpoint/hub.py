"""One repo of the Hugging Face hub: offline reads of its cache, and downloads of missing files.

Downloads of gigabytes must be resumable, but from version 2.4 on ``hf_hub_download`` discards a partial file
when interrupted. So the download happens here; ``hf_hub_download`` then adds the finished file to its cache.
"""

from __future__ import annotations

import errno
import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging import ERROR
from pathlib import Path

from huggingface_hub import (
    _CACHED_NO_EXIST,
    constants,
    errors,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import (  # type: ignore[attr-defined] # exported, if not in its stubs' eyes
    WeakFileLock,
    build_hf_headers,
    disable_progress_bars,
    logging,
    validate_repo_id,
)

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.moshi.checkpoint.download_meter import DownloadMeter, MeteredFile
from moshi_phone.runtime.errors import first_line

REPO = re.compile(r"[\w.-]+/[\w.-]+")  # ORG/NAME
DOWNLOAD = "uv run bot.py download"
SHA256_DIGITS = 64
HASHED_BYTES = 1 << 20  # read at a time


@dataclass(frozen=True)
class _About:
    """The hub's metadata of a file: URL, size in bytes, ETag."""

    url: str
    size: int
    etag: str


class HubRepo:
    """Files of a repo, all from one commit: that of the first file found or fetched.

    Args:
        name: as in ``kyutai/moshiko-mlx-q4``.
        progress: receives a line for each fetched file.
        option: the command-line option that selects another repo, for messages.
        download: the command that fetches the repo's files, for messages.
    """

    def __init__(
        self, name: str, progress: Progress, *, option: str = "--model", download: str = DOWNLOAD
    ) -> None:
        self.name = name
        self._option = option
        self._download_command = download
        self._progress = progress
        self._commit: str | None = None  # of the first file found; all others must match it

    @property
    def commit(self) -> str:
        """The files' commit.

        Raises:
            RuntimeError: before the first file is found or fetched.
        """
        if self._commit is None:
            raise RuntimeError("expected a file of the repo before its commit is asked for, got none")
        return self._commit

    def cached(self, file: str) -> Path | None:
        """Return the file's path if it is on this machine. Never makes a request."""
        path = self._in_cache(file)
        if self._commit is not None and (refetched := self._own_path(file)).exists():
            return refetched
        return path

    def is_absent(self, file: str) -> bool:
        """Whether the cache records that the repo has no such file."""
        return try_to_load_from_cache(self.name, file, revision=self._commit) is _CACHED_NO_EXIST

    def _own_path(self, file: str) -> Path:
        return cache_folder(self.name, self.commit) / "files" / file

    def _in_cache(self, file: str) -> Path | None:
        found = try_to_load_from_cache(self.name, file, revision=self._commit)
        if not isinstance(found, str):  # not there, or known to be absent from the repo
            return None
        path = Path(found)
        if not path.exists():  # a snapshot's link to a blob that was deleted
            return None
        if self._commit is None:
            self._commit = path.relative_to(_snapshots(path)).parts[0]
        return path

    def get(self, file: str, *, optional: bool = False) -> Path | None:
        """Return a file from the cache, or fetch it.

        Args:
            file: its path in the repo.
            optional: return None if the repo has no such file.

        Raises:
            EngineUnavailable: when it is not available.
        """
        if optional and self.is_absent(file):
            return None
        return self.cached(file) or self._fetch(file, optional=optional)

    def fetch_if_different(self, file: str) -> bool:
        """Fetch a file again if its size or hash differs from the hub's; return whether it did.

        The new copy goes to this program's folder: other programs share the hub's cache.

        Raises:
            EngineUnavailable: when it is not available.
        """
        path = self.cached(file)
        with self._explained(file):
            about = self._about(file)
            if path is not None and is_same(path, about.size, about.etag):
                return False
            self._progress(f"Fetching {file} from {self.name} again: what is here differs from it.")
            self._download(file, about, self._own_path(file), replace=True)
        return True

    def _fetch(self, file: str, *, optional: bool) -> Path | None:
        with self._explained(file):
            asked = self._commit  # None: the newest, which the client records in the cache
            try:
                about = self._about(file)
            except errors.EntryNotFoundError:
                if not optional:
                    raise
                with suppress(errors.EntryNotFoundError):  # records the absence in the cache
                    hf_hub_download(self.name, file, revision=asked)
                return None
            self._progress(f"Fetching {file} from {self.name}.")
            folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.name, repo_type="model")
            self._download(file, about, folder / "blobs" / about.etag)
            return Path(hf_hub_download(self.name, file, revision=asked))

    def _about(self, file: str) -> _About:
        url = hf_hub_url(self.name, file, revision=self._commit)
        found = get_hf_file_metadata(url, headers=build_hf_headers())
        if found.etag is None or found.size is None:
            raise OSError("the hub does not tell the file's size")
        self._commit = found.commit_hash
        return _About(url, found.size, found.etag)

    def _download(self, file: str, about: _About, target: Path, *, replace: bool = False) -> None:
        """Download a file to ``target``, resuming an interrupted download."""
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not the client's own name for partial files: the client would delete it.
        part = target.with_name(f"{about.etag}.moshi-phone.incomplete")
        # Without the lock, two processes would write to the same partial file.
        with WeakFileLock(part.with_suffix(".lock")):
            if target.exists() and not replace:
                return
            if part.exists() and part.stat().st_size > about.size:
                part.unlink()  # too long to be a part of this file
            with part.open("ab") as stream:
                done_bytes = stream.tell()
                if done_bytes:
                    self._progress(f"Going on after {done_bytes / 1e6:,.0f} of {about.size / 1e6:,.0f} MB.")
                meter = DownloadMeter(file, about.size, done_bytes, time.monotonic())
                disable_progress_bars(
                    "huggingface_hub.http_get"
                )  # the meter reports progress to the log and the page instead
                http_get(
                    about.url,
                    MeteredFile(stream, meter, self._progress, time.monotonic),  # type: ignore[arg-type]
                    resume_size=done_bytes,
                    headers=build_hf_headers(),
                    expected_size=about.size,
                    displayed_filename=file,
                )
            part.replace(target)

    @contextmanager
    def _explained(self, file: str) -> Iterator[None]:
        """Convert the hub client's exceptions to one sentence with a remedy."""
        verbosity = logging.get_verbosity()
        logging.set_verbosity(ERROR)  # our exception replaces the client's warnings
        try:
            yield
        except errors.LocalEntryNotFoundError as error:
            raise self._unreachable(file, error) from error
        except errors.EntryNotFoundError as error:
            raise self.has_no(file) from error
        except errors.GatedRepoError as error:
            raise EngineUnavailable(
                f"The hub gives {self.name} only to those who have accepted its licence: accept it on "
                f"https://huggingface.co/{self.name}, then set HF_TOKEN to your token "
                "(or run 'hf auth login')."
            ) from error
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise EngineUnavailable(
                f"The hub shows no repo {self.name}, wanted for {file}; "
                f"correct {self._option}, or log in with 'hf auth login' if it is private."
            ) from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise EngineUnavailable(
                    f"The disk is full while fetching {file}; free some space, or set HF_HOME to a larger "
                    "disk, and start again: what has been fetched is kept."
                ) from error
            if isinstance(error, PermissionError):
                raise EngineUnavailable(
                    f"Cannot store {file} ({error}); set HF_HOME to a folder that can be written to."
                ) from error
            raise self._unreachable(file, error) from error
        except Exception as error:  # the client's network errors have no public name
            raise self._unreachable(file, error) from error
        finally:
            logging.set_verbosity(verbosity)

    def has_no(self, file: str) -> EngineUnavailable:
        """Return the error for a file that the repo lacks."""
        return EngineUnavailable(f"The repo {self.name} has no file {file}; {self._option} names another.")

    def _unreachable(self, file: str, error: Exception) -> EngineUnavailable:
        why = first_line(error).rstrip(".")
        return EngineUnavailable(
            f"{file} of {self.name} is not in the cache, and fetching it failed ({why}): "
            f"run '{self._download_command}' with a network connection, "
            f"or give a folder with {self._option}; what has been fetched is kept."
        )


def _snapshots(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.name == "snapshots")


def cache_folder(repo: str, commit: str) -> Path:
    """Folder for files derived from a repo's; not in the hub's cache, which belongs to its client."""
    return own_folder() / repo.replace("/", "--") / commit


def cache_folder_for(folder: Path) -> Path:
    """Folder for files derived from those of a folder that is not writable."""
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return own_folder() / f"{folder.resolve().name}-{name}"


def own_folder() -> Path:
    """This program's cache folder, next to the hub's."""
    return Path(constants.HF_HUB_CACHE).parent / "moshi-phone"


def is_repo(name: str) -> bool:
    """Whether a name is valid for a repo, rather than a path to a missing folder."""
    try:
        validate_repo_id(name)
    except errors.HFValidationError:
        return False
    return REPO.fullmatch(name) is not None


def is_same(path: Path, size_bytes: int, etag: str | None) -> bool:
    """Whether a file has the hub's size and hash.

    Args:
        path: the file.
        size_bytes: the hub's size.
        etag: the SHA-256, or git's SHA-1 for small files; None compares the size only.
    """
    if path.stat().st_size != size_bytes:
        return False
    if etag is None:
        return True
    digest = hashlib.sha256() if len(etag) == SHA256_DIGITS else hashlib.sha1(usedforsecurity=False)
    if len(etag) != SHA256_DIGITS:
        digest.update(f"blob {size_bytes}\0".encode())
    with path.open("rb") as file:
        while part := file.read(HASHED_BYTES):
            digest.update(part)
    return digest.hexdigest() == etag
