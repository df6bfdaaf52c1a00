"""Deletion of old recordings and transcripts, at startup and every hour."""

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
    """Yield the file names of calls that began more than ``keep_days`` ago. Pure.

    Args:
        names: file names, this program's and others.
        now: the current time, UTC.
        keep_days: age limit of a call in days.
    """
    for name in names:
        found = CALL_FILE.fullmatch(name)
        if found is None:
            continue
        try:
            began = datetime.strptime(found["began"], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
        except ValueError:  # for example, month 13
            continue
        if now - began > timedelta(days=keep_days):
            yield name


def delete_expired(folders: Iterable[Path], now: datetime, keep_days: int) -> None:
    """Delete the files of old calls; log failures, which are retried the next time.

    Args:
        folders: folders of recordings and transcripts; reports in their subfolders are deleted too.
        now: the current time, UTC.
        keep_days: age limit of a call in days.
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
    """Delete files older than ``--keep-days``, now and every hour, while the block runs.

    The writer's thread does it, so that a slow disk delays no call.
    """
    kept = (options.record, options.transcripts, options.fallback_record)
    folders = {folder for folder in kept if folder is not None}
    keep_days = options.keep_days
    if keep_days is None or not folders:
        # A user who has turned recording off may still rely on the deletion.
        if keep_days is not None and options.calls_db is None:
            logger.warning("--keep-days deletes nothing: set --record, --transcripts or --calls-db.")
        yield
        return

    async def delete_hourly() -> None:
        while True:
            # In the writer's thread, after the queued writes.
            files.put(lambda: delete_expired(folders, datetime.now(UTC), keep_days), 0)
            await asyncio.sleep(EVERY_S)

    deleting = asyncio.create_task(delete_hourly())
    try:
        yield
    finally:
        deleting.cancel()
