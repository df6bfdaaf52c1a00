"""One repo of the Hugging Face hub: its cache, read without the network, and fetching what is missing.

Files are fetched here rather than by ``hf_hub_download``, which from version 2.4 throws away what it has
when it is broken off; gigabytes must be resumable. It still lays the finished file out in its cache.
"""

from __future__ import annotations

import errno
import re
from logging import ERROR
from pathlib import Path

from huggingface_hub import (
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
    logging,
)

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.runtime.errors import first_line

REPO = re.compile(r"[\w.-]+/[\w.-]+")  # ORG/NAME
DOWNLOAD = "uv run bot.py download"


class HubRepo:
    """Files of a repo, all of one commit: that of the first file which is found or fetched.

    Args:
        name: as in ``kyutai/moshiko-mlx-q4``.
        progress: hears what is fetched.
        option: of the command line, which names another repo.
        download: the command that fetches its files.
    """

    def __init__(
        self, name: str, progress: Progress, *, option: str = "--model", download: str = DOWNLOAD
    ) -> None:
        self.name = name
        self._option = option
        self._download_command = download
        self._progress = progress
        self._commit: str | None = None

    @property
    def commit(self) -> str:
        """Which commit the files are of.

        Raises:
            RuntimeError: before the first file was found or fetched.
        """
        if self._commit is None:
            raise RuntimeError("expected a file of the repo before its commit is asked for, got none")
        return self._commit

    def cached(self, file: str) -> Path | None:
        """Give the file if it is in the cache. Makes no request, however the hub's client is set."""
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
        """Give the file from the cache, or else fetch it.

        Args:
            file: its path in the repo.
            optional: give None where the repo has no such file.

        Raises:
            EngineUnavailable: when it cannot be had.
        """
        return self.cached(file) or self._fetch(file, optional=optional)

    def fetch_anew(self, file: str) -> None:
        """Throw away what is cached of a file and fetch it.

        Raises:
            EngineUnavailable: when it cannot be had.
        """
        if (path := self.cached(file)) is not None:
            # The blob as well as the link: fetching goes no further where there is a blob of that name.
            path.resolve().unlink()
            path.unlink(missing_ok=True)
        self._fetch(file, optional=False)

    def _fetch(self, file: str, *, optional: bool) -> Path | None:
        if not optional:
            self._progress(f"Fetching {file} from {self.name}.")
        verbosity = logging.get_verbosity()
        logging.set_verbosity(ERROR)  # what it would say, our exception says in one sentence
        try:
            asked = self._commit  # None asks for the newest, and the client notes in the cache which that is
            self._download(file)
            return Path(hf_hub_download(self.name, file, revision=asked))
        except errors.LocalEntryNotFoundError as error:
            raise self._unreachable(file, error) from error
        except errors.EntryNotFoundError as error:
            if optional:
                return None
            raise EngineUnavailable(
                f"The repo {self.name} has no file {file}; {self._option} names another."
            ) from error
        except errors.GatedRepoError as error:
            raise EngineUnavailable(
                f"The hub gives {self.name} only to those who have accepted its licence: accept it on "
                f"https://huggingface.co/{self.name}, then set HF_TOKEN to a token of yours "
                "(or run 'hf auth login')."
            ) from error
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise EngineUnavailable(
                f"The hub shows no repo {self.name}, wanted for {file}; "
                f"mend {self._option}, or log in with 'hf auth login' if it is private."
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

    def _download(self, file: str) -> None:
        """Bring the file into the cache's blobs, going on where an earlier try was broken off."""
        url = hf_hub_url(self.name, file, revision=self._commit)
        headers = build_hf_headers()
        about = get_hf_file_metadata(url, headers=headers)
        if about.etag is None or about.size is None:
            raise OSError("the hub does not tell the file's size")
        self._commit = about.commit_hash
        folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.name, repo_type="model")
        blob = folder / "blobs" / about.etag
        blob.parent.mkdir(parents=True, exist_ok=True)
        # A name of our own: the hub's client throws away what it finds under its own.
        part = blob.with_name(f"{about.etag}.moshi-phone.incomplete")
        # Two programs that fetch at once would write into one file.
        with WeakFileLock(part.with_suffix(".lock")):
            if blob.exists():
                return
            if part.exists() and part.stat().st_size > about.size:
                part.unlink()  # it cannot be the beginning of this file
            with part.open("ab") as stream:
                done_bytes = stream.tell()
                if done_bytes:
                    self._progress(f"Going on after {done_bytes / 1e6:,.0f} of {about.size / 1e6:,.0f} MB.")
                http_get(
                    url,
                    stream,
                    resume_size=done_bytes,
                    headers=headers,
                    expected_size=about.size,
                    displayed_filename=file,
                )
            part.rename(blob)

    def _unreachable(self, file: str, error: Exception) -> EngineUnavailable:
        why = first_line(error).rstrip(".")
        return EngineUnavailable(
            f"{file} of {self.name} is not in the cache, and fetching it failed ({why}): "
            f"run '{self._download_command}' with a network connection, "
            f"or give a folder with {self._option}; what has been fetched is kept."
        )


def _snapshots(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.name == "snapshots")
