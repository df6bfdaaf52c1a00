"""Reports to hooks: a call begins, a call has ended or was refused.

A transferred call is reported when Twilio reports the transfer's result, or when the program ends; if the
program is killed, at its next start.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from loguru import logger

from moshi_phone.hooks.events import BeginEvent, EndEvent, TransferResult
from moshi_phone.hooks.http import Hook, HookFailed
from moshi_phone.hooks.outbox import Outbox
from moshi_phone.records.call_row import CallRow, Outcome

MAX_PENDING = 100  # being written or delivered; beyond that, new reports are dropped and logged
MAX_HELD = 1_000  # transfers without a result; beyond that, the oldest is reported without it
AT_END_SECS = 2.0  # for pending reports when the program ends
BEGIN_PAUSES_SECS = (1.0, 5.0)  # retries; later, the news of a call's begin is stale


class Reports:
    """Creates and sends reports in the background."""

    def __init__(self) -> None:
        self._pending = set[asyncio.Task[None]]()  # bounded by MAX_PENDING; also holds the tasks
        self._held: dict[str, tuple[EndEvent, Path | None]] = {}  # by SID, oldest first

    def begin(self, hook: Hook | None, event: BeginEvent) -> None:
        """Report that a call begins. Returns at once; delivery is given up after some seconds."""
        if hook is not None:
            self._run(_tell(hook, event), "--on-begin")

    def send(self, outbox: Outbox | None, event: EndEvent) -> None:
        """Report a call. Returns at once."""
        if outbox is not None:
            self._run(outbox.add(event), "--on-end")

    async def end(self, outbox: Outbox | None, event: EndEvent) -> None:
        """Report an ended call. Returns once the report is on disk, or held for the transfer's result."""
        if outbox is None:
            return
        if event["outcome"] != Outcome.TRANSFERRED:
            await outbox.add(event)
            return
        # identifies the report if the program is killed and it is sent again
        event = {**event, "id": secrets.token_hex(8)}
        self._held[event["call_sid"]] = event, await outbox.hold(event)
        if len(self._held) > MAX_HELD:  # Twilio may never report a result
            self.transferred(outbox, next(iter(self._held)))

    def transferred(self, outbox: Outbox | None, call_sid: str, row: CallRow | None = None) -> None:
        """Report a transferred call. Returns at once.

        Args:
            outbox: delivers it.
            call_sid: SID of the call; ignored if it is not held.
            row: has the transfer's result; None if unknown.
        """
        if outbox is None or call_sid not in self._held:
            return
        event, held = self._held.pop(call_sid)
        if row is not None:
            event["transfer"] = transfer_result(row)
        self._run(outbox.release(held, event), "--on-end")

    async def stop(self, outbox: Outbox | None) -> None:
        """Report the held calls and wait for pending reports, for at most ``AT_END_SECS``."""
        for call_sid in list(self._held):
            self.transferred(outbox, call_sid)
        if self._pending:
            await asyncio.wait(self._pending, timeout=AT_END_SECS)

    def _run(self, work: Coroutine[Any, Any, None], option: str) -> None:
        if len(self._pending) >= MAX_PENDING:
            work.close()  # prevents "coroutine was never awaited"
            logger.error(
                "A report for {} is dropped: {} others wait for the disk or the hook", option, MAX_PENDING
            )
            return
        task = asyncio.create_task(work, name="report")
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)


def transfer_result(row: CallRow) -> TransferResult | None:
    """Return the result of a call's transfer, as far as it is known; None without a transfer."""
    if row.transfer_to is None:
        return None
    return {"to": row.transfer_to, "outcome": row.transfer_outcome, "secs": row.transfer_secs}


async def _tell(hook: Hook, event: BeginEvent) -> None:
    for pause_secs in (*BEGIN_PAUSES_SECS, None):
        try:
            await hook.post(event)
        except HookFailed as failure:
            if pause_secs is None:
                logger.warning("A call was not reported to --on-begin: {}", failure)
                return
            await asyncio.sleep(pause_secs)
        else:
            return
