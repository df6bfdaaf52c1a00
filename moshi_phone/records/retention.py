"""Deletes old recordings and transcripts, at the start and while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loguru import logger

from moshi_phone.records.call_files import CALL_FILE, delete_with_report
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.options import TapOptions


def expired(names: Iterable[str], now: datetime, keep_days: int) -> Iterator[str]:
    """Pick the files of calls that began more than so many days ago, by their names. Pure.

    Args:
        names: of files, ours and others.
        now: the time, in UTC.
        keep_days: how many days a call is kept.
    """
    for name in names:
        found = CALL_FILE.fullmatch(name)
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
        folders: of recordings and transcripts; of the folders below them, those of reports are deleted too.
        now: the time, in UTC.
        keep_days: how many days a call is kept.
    """
    for folder in folders:
        deleted, stuck = 0, list[OSError]()
        try:
            names = list(expired([path.name for path in folder.iterdir()], now, keep_days))
        except OSError as error:
            logger.error("Old files in {} could not be deleted: {}", folder, error)
            continue
        for name in names:
            try:
                deleted += delete_with_report(folder / name)
            except OSError as error:  # a directory of that name, a file of another user's
                stuck.append(error)
        if stuck:
            logger.error("{} old files in {} could not be deleted: {}", len(stuck), folder, stuck[0])
        if deleted:
            logger.info("Deleted {} files of calls older than {} days from {}", deleted, keep_days, folder)


EVERY_S = 3600.0


@asynccontextmanager
async def retaining(options: TapOptions, files: FileWriter) -> AsyncIterator[None]:
    """Delete what is older than ``--keep-days``, now and every hour, while the block runs.

    It is done in the thread that writes the files: a slow disk holds up no call.
    """
    kept = (options.record, options.transcripts, options.fallback_record)
    folders = {folder for folder in kept if folder is not None}
    keep_days = options.keep_days
    if keep_days is None or not folders:
        # Whoever records no more may still count on it.
        if keep_days is not None and options.calls_db is None:
            logger.warning("--keep-days deletes nothing: set --record, --transcripts or --calls-db.")
        yield
        return

    async def delete_hourly() -> None:
        while True:
            # In the writer's thread, behind the files that are being written.
            files.put(lambda: delete_expired(folders, datetime.now(UTC), keep_days), 0)
            await asyncio.sleep(EVERY_S)

    deleting = asyncio.create_task(delete_hourly())
    try:
        yield
    finally:
        deleting.cancel()
