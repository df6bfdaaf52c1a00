"""One repo of the Hugging Face hub: its cache, read without the network, and fetching what is missing."""

from __future__ import annotations

import errno
from pathlib import Path

import httpx
from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache

from engines.duplex import EngineUnavailable, Progress

DOWNLOAD = "python bot.py download"


class HubRepo:
    """Files of a repo, all of one commit: that of the first file which is found in the cache.

    Args:
        name: as in ``kyutai/moshiko-mlx-q4``.
        progress: hears what is fetched.
    """

    def __init__(self, name: str, progress: Progress) -> None:
        self.name = name
        self._progress = progress
        self._commit: str | None = None

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
        return self.cached(file) or self.fetch(file, optional=optional)

    def fetch(self, file: str, *, optional: bool = False, anew: bool = False) -> Path | None:
        """Fetch a file with the hub's client, which goes on where an earlier try was broken off.

        Args:
            file: its path in the repo.
            optional: give None where the repo has no such file.
            anew: also when it is in the cache.

        Raises:
            EngineUnavailable: when it cannot be had.
        """
        if not optional:
            self._progress(f"Fetching {file} from {self.name}.")
        try:
            path = hf_hub_download(self.name, file, revision=self._commit, force_download=anew)
        except errors.EntryNotFoundError as error:
            if isinstance(error, errors.LocalEntryNotFoundError):
                raise self._unreachable(file) from error
            if optional:
                return None
            raise EngineUnavailable(
                f"The repo {self.name} has no file {file}; --model and --quantize name another."
            ) from error
        except (errors.RepositoryNotFoundError, errors.GatedRepoError, errors.RevisionNotFoundError) as error:
            raise EngineUnavailable(
                f"The hub shows no repo {self.name}, wanted for {file}; "
                "mend --model, or log in with 'hf auth login' if it is private."
            ) from error
        except OSError as error:
            raise self._os_error(file, error) from error
        except (httpx.HTTPError, errors.HfHubHTTPError, errors.OfflineModeIsEnabled) as error:
            raise self._unreachable(file) from error
        return Path(path)

    def _os_error(self, file: str, error: OSError) -> EngineUnavailable:
        if isinstance(
            error, (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, ConnectionError, TimeoutError)
        ):
            return self._unreachable(file)
        if error.errno == errno.ENOSPC:
            return EngineUnavailable(
                f"The disk is full while fetching {file}; free some space, or set HF_HOME to a larger disk."
            )
        return EngineUnavailable(
            f"Cannot store {file}: {error}; set HF_HOME to a folder that can be written to."
        )

    def _unreachable(self, file: str) -> EngineUnavailable:
        return EngineUnavailable(
            f"{file} of {self.name} is not in the cache, and the hub cannot be reached: run '{DOWNLOAD}' "
            "with a network connection (and without HF_HUB_OFFLINE), or give a folder with --model; "
            "what has been fetched is kept."
        )


def _snapshots(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.name == "snapshots")
