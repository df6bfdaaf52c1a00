"""The folders that recordings and transcripts go to."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import NamedTemporaryFile

from loguru import logger

from moshi_phone.records.options import TapOptions
from moshi_phone.records.private_files import FOLDER_MODE
from moshi_phone.runtime.errors import UserError


class DirectoryUnusable(UserError):
    """A directory that cannot be written to; the text says which, and why."""


def make_directories(options: TapOptions) -> None:
    """Make the directories that the options name, before the first call needs them.

    Raises:
        DirectoryUnusable: when one cannot be made or written to.
    """
    for directory in (options.record, options.transcripts):
        if directory is not None:
            try:
                directory.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
                with NamedTemporaryFile(
                    dir=directory
                ):  # permissions alone do not tell: the disk may be read-only
                    pass
                _warn_if_open(directory)
            except OSError as error:
                raise DirectoryUnusable(f"Cannot write to {directory}: {error.strerror}.") from error


def _warn_if_open(directory: Path) -> None:
    """Say that a folder which was there before lets others in; the files in it are for their owner alone."""
    mode = stat.S_IMODE(directory.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        logger.warning(
            "Others on this machine may look into {} (mode {:o}) and see when calls were: "
            "chmod 700 {} closes it",
            directory,
            mode,
            directory,
        )
