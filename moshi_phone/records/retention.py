"""Deletes what was kept of calls when it has become too old: ``--keep-days``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loguru import logger

# As Call.file_name and private_files.create name them; nothing else in the folder is touched.
_OURS = re.compile(
    r"(?P<began>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z)-[0-9A-Za-z]{0,34}(?:-[0-9]+)?"
    r"\.(?:wav|txt|jsonl)"
)


def expired(names: Iterable[str], now: datetime, keep_days: int) -> Iterator[str]:
    """Pick the files of calls that began more than so many days ago, by their names. Pure.

    Args:
        names: of files, ours and others.
        now: the time, in UTC.
        keep_days: how many days a call is kept.
    """
    for name in names:
        found = _OURS.fullmatch(name)
        if found is None:
            continue
        try:
            began = datetime.strptime(found["began"], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
        except ValueError:  # a month 13
            continue
        if now - began > timedelta(days=keep_days):
            yield name


def delete_expired(folders: Iterable[Path], now: datetime, keep_days: int) -> None:
    """Delete the files of old calls; what cannot be deleted is logged, and tried again the next time.

    Args:
        folders: of recordings and transcripts; what lies in folders below them stays.
        now: the time, in UTC.
        keep_days: how many days a call is kept.
    """
    for folder in folders:
        deleted = 0
        try:
            for name in expired([path.name for path in folder.iterdir()], now, keep_days):
                (folder / name).unlink(missing_ok=True)
                deleted += 1
        except OSError as error:
            logger.error("Old files in {} could not be deleted: {}", folder, error)
        if deleted:
            logger.info("Deleted {} files of calls older than {} days from {}", deleted, keep_days, folder)
