"""Deletes old recordings and transcripts while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from loguru import logger

from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.options import TapOptions
from moshi_phone.records.retention import delete_expired

EVERY_S = 3600.0


@asynccontextmanager
async def retaining(options: TapOptions, files: FileWriter) -> AsyncIterator[None]:
    """Delete what is older than ``--keep-days``, now and every hour, while the block runs.

    It is done in the thread that writes the files: a slow disk holds up no call.
    """
    folders = {folder for folder in (options.record, options.transcripts) if folder is not None}
    keep_days = options.keep_days
    if keep_days is None or not folders:
        if keep_days is not None:
            # Whoever records no more may still count on it.
            logger.warning("--keep-days deletes nothing: neither --record nor --transcripts names a folder.")
        yield
        return

    async def delete_hourly() -> None:
        while True:
            files.put(lambda: delete_expired(folders, datetime.now(UTC), keep_days), 0)
            await asyncio.sleep(EVERY_S)

    deleting = asyncio.create_task(delete_hourly())
    try:
        yield
    finally:
        deleting.cancel()
