"""What hooks are told of calls: that one begins, and what became of it, also where it was not taken.

A call that was transferred to a person is reported when Twilio says how that went, or when the program ends;
if the program is killed meanwhile, at its next start.
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

MAX_PENDING = 100  # on their way to the hook or to the disk; beyond that, the newest is dropped and logged
MAX_HELD = 1_000  # transfers whose result is not known; beyond that, the oldest is reported without it
AT_END_SECS = 2.0
BEGIN_PAUSES_SECS = (1.0, 5.0)  # later than that, a call that begins is no news


class Reports:
    """Tells hooks of calls; no call waits for it."""

    def __init__(self) -> None:
        self._pending = set[asyncio.Task[None]]()
        self._held: dict[str, tuple[EndEvent, Path | None]] = {}  # by SID, the oldest first

    def begin(self, hook: Hook | None, event: BeginEvent) -> None:
        """Tell that a call begins; returns at once. What cannot be told within seconds is not told."""
        if hook is not None:
            self._run(_tell(hook, event), "--on-begin")

    def send(self, outbox: Outbox | None, event: EndEvent) -> None:
        """Report a call; returns at once."""
        if outbox is not None:
            self._run(outbox.add(event), "--on-end")

    async def end(self, outbox: Outbox | None, event: EndEvent) -> None:
        """Report a call that is over; returns when the report is on the disk, or held for its transfer."""
        if outbox is None:
            return
        if event["outcome"] != Outcome.TRANSFERRED:
            await outbox.add(event)
            return
        event = {**event, "id": secrets.token_hex(8)}
        self._held[event["call_sid"]] = event, await outbox.hold(event)
        if len(self._held) > MAX_HELD:
            self.transferred(outbox, next(iter(self._held)))

    def transferred(self, outbox: Outbox | None, call_sid: str, row: CallRow | None = None) -> None:
        """Report a transferred call; returns at once.

        Args:
            outbox: delivers it.
            call_sid: names the call; one that is not held is none of ours.
            row: says how the transfer went; None where nobody knows.
        """
        if outbox is None or call_sid not in self._held:
            return
        event, held = self._held.pop(call_sid)
        if row is not None:
            event["transfer"] = transfer_result(row)
        self._run(outbox.release(held, event), "--on-end")

    async def stop(self, outbox: Outbox | None) -> None:
        """Report what is held, and wait for what is on its way, but not for long."""
        for call_sid in list(self._held):
            self.transferred(outbox, call_sid)
        if self._pending:
            await asyncio.wait(self._pending, timeout=AT_END_SECS)

    def _run(self, work: Coroutine[Any, Any, None], option: str) -> None:
        if len(self._pending) >= MAX_PENDING:
            work.close()
            logger.error(
                "A call is not told to {}: {} others wait for the disk or the hook", option, MAX_PENDING
            )
            return
        task = asyncio.create_task(work, name="report")
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)


def transfer_result(row: CallRow) -> TransferResult | None:
    """Say how a call's transfer went, as far as that is known; None where there was none."""
    if row.transfer_to is None:
        return None
    return {"to": row.transfer_to, "outcome": row.transfer_outcome, "secs": row.transfer_secs}


async def _tell(hook: Hook, event: BeginEvent) -> None:
    for pause_secs in (*BEGIN_PAUSES_SECS, None):
        try:
            await hook.post(event)
        except HookFailed as failure:
            if pause_secs is None:
                logger.warning("--on-begin was not told of a call: {}", failure)
                return
            await asyncio.sleep(pause_secs)
        else:
            return
