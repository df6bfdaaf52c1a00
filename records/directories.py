"""The folders that recordings and transcripts go to."""

from __future__ import annotations

from tempfile import NamedTemporaryFile

from records.options import TapOptions


class DirectoryUnusable(Exception):
    """A directory that cannot be written to; the text says which, and why."""


def make_directories(options: TapOptions) -> None:
    """Make the directories that the options name, before the first call needs them.

    Raises:
        DirectoryUnusable: when one cannot be made or written to.
    """
    for directory in (options.record, options.transcripts):
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                with NamedTemporaryFile(dir=directory):
                    pass
            except OSError as error:
                raise DirectoryUnusable(f"Cannot write to {directory}: {error.strerror}.") from error
