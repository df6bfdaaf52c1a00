"""Files and folders readable by their owner only."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

from loguru import logger

from moshi_phone.records.options import TapOptions
from moshi_phone.runtime.errors import UserError

FILE_MODE, FOLDER_MODE = 0o600, 0o700
_MAX_NAMES = 1000


def create(path: Path) -> tuple[Path, BinaryIO]:
    """Create a new file that only its owner can read.

    If the name exists, the new file is ``NAME-2``, ``NAME-3``, …: two streams may claim to be the same call
    in the same second, and neither may overwrite the other's file.

    Raises:
        OSError: when it cannot be created.
    """
    for number in range(1, _MAX_NAMES + 1):
        candidate = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
            return candidate, os.fdopen(os.open(candidate, flags, FILE_MODE), "wb")
        except FileExistsError:
            continue
    raise FileExistsError(17, f"{_MAX_NAMES} files of that name are there already", str(path))


class DirectoryUnusable(UserError):
    """A directory is not writable; the message gives its path and the reason."""


def make_directories(options: TapOptions) -> None:
    """Create the options' directories before the first call.

    Raises:
        DirectoryUnusable: when one cannot be created or is not writable.
    """
    for directory in (options.record, options.transcripts, options.fallback_record):
        if directory is not None:
            try:
                directory.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
                with NamedTemporaryFile(
                    dir=directory
                ):  # permissions alone are not enough: the disk may be read-only
                    pass
                _warn_if_open(directory)
            except OSError as error:
                raise DirectoryUnusable(f"Cannot write to {directory}: {error.strerror}.") from error


def _warn_if_open(directory: Path) -> None:
    """Log a warning if other users can list the folder. Its files stay private in any case."""
    mode = stat.S_IMODE(directory.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        logger.warning(
            "Other users can list {} (mode {:o}) and see the times of calls: chmod 700 {} prevents that",
            directory,
            mode,
            directory,
        )
