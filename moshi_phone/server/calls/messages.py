"""Callers' messages: fetched from Twilio once, stored, entered and reported, in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from loguru import logger

from moshi_phone.hooks.outbox import Outbox
from moshi_phone.records.call_history import CallHistory
from moshi_phone.records.call_row import CallRow, Kind, Outcome, utc_text
from moshi_phone.records.private_files import FOLDER_MODE, create
from moshi_phone.runtime.daemon_threads import in_daemon_thread
from moshi_phone.server.calls.summary import row_report
from moshi_phone.telephony.incoming_call import IncomingCall
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.voice_recordings import VoiceRecordings, is_recording_sid

PAUSES_SECS = (2.0, 5.0, 15.0, 60.0, 300.0)  # before each retry
MAX_FETCHING = 100  # beyond that, messages stay at Twilio
REASON = "a message was left"


class Messages:
    """Fetches and stores callers' messages.

    Args:
        folder: directory of the recordings.
        recordings: Twilio's recordings API.
        history: rows of calls.
        outbox: delivers to ``--on-end``; None without a hook.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        folder: Path,
        recordings: VoiceRecordings,
        history: CallHistory,
        outbox: Outbox | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._folder = folder
        self._recordings = recordings
        self._history = history
        self._outbox = outbox
        self._sleep = sleep
        self._tasks = set[asyncio.Task[None]]()  # bounded by MAX_FETCHING; also holds the tasks

    def take(self, call: IncomingCall) -> None:
        """Store the message announced by a webhook. Returns at once.

        Args:
            call: its parameters include Twilio's ``RecordingSid`` and ``RecordingDuration``.
        """
        sid, secs = call.parameters.get("RecordingSid", ""), call.parameters.get("RecordingDuration", "")
        if not is_recording_sid(sid):
            logger.info("The caller left no message")
            return
        if len(self._tasks) >= MAX_FETCHING:
            logger.error("{} messages are being fetched; the recording {} stays at Twilio", MAX_FETCHING, sid)
            return
        self._run(self._keep(call, sid, float(secs) if secs.isascii() and secs.isdigit() else 0.0))

    async def stop(self, within_secs: float) -> None:
        """Wait for running downloads. Unfinished messages stay at Twilio; the log names them."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_secs)
            for task in late:
                task.cancel()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="message")
        self._tasks.add(task)  # holds the task until it is done
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, call: IncomingCall, recording_sid: str, secs: float) -> None:
        began = datetime.now(UTC) - timedelta(seconds=secs)  # Twilio reports a message when it has ended
        try:
            wav = await self._fetch(recording_sid)
            path = await in_daemon_thread(partial(self._write, wav, began, call.call_sid), "message")
        except asyncio.CancelledError:
            logger.error("A message was not fetched; it stays at Twilio as {}", recording_sid)
            raise
        except (TwilioError, OSError) as error:
            logger.error("A message cannot be kept ({}); it stays at Twilio as {}", error, recording_sid)
            return
        row = self._enter(call, secs, path)
        logger.info("A message of {:.0f} s is in {}", secs, path)
        if self._outbox is not None:
            await self._outbox.add(row_report(row, call))
        try:
            await self._recordings.delete(recording_sid)  # last: until now, Twilio's copy is the backup
        except (TwilioError, aiohttp.ClientError, OSError) as error:
            logger.warning("The message was fetched, but could not be deleted at Twilio: {}", error)

    async def _fetch(self, recording_sid: str) -> bytes:
        for pause_secs in (*PAUSES_SECS, None):
            try:
                return await self._recordings.fetch(recording_sid)
            except TwilioError as error:
                if pause_secs is None or not error.may_pass:
                    raise
            except (aiohttp.ClientError, TimeoutError) as error:
                if pause_secs is None:
                    raise TwilioError(f"Twilio's API cannot be reached ({type(error).__name__})") from error
            await self._sleep(pause_secs or 0.0)
        raise AssertionError("unreachable: the last round raises or returns")

    def _write(self, wav: bytes, began: datetime, call_sid: str) -> Path:
        # the SID becomes part of a path
        plain_sid = "".join(c for c in call_sid if c.isascii() and c.isalnum())[:34]
        self._folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)  # a gateway may run on another machine
        path, file = create(self._folder / f"{began:%Y-%m-%dT%H-%M-%SZ}-{plain_sid}.wav")
        try:
            with file:
                file.write(wav)
        except OSError:
            path.unlink(missing_ok=True)  # half a message is useless
            raise
        return path

    def _enter(self, call: IncomingCall, secs: float, path: Path) -> CallRow:
        what: dict[str, Any] = {
            "kind": Kind.MESSAGE,
            "outcome": Outcome.MESSAGE,
            "reason": REASON,
            "secs": secs,
            "ended_at": utc_text(datetime.now(UTC)),
            "files": {"recording": str(path.resolve())},
        }
        if row := self._history.update(call.call_sid, **what):
            return row
        return self._history.add(  # the program has restarted since
            CallRow(
                call_sid=call.call_sid,
                from_number=call.from_,
                to_number=call.to,
                direction=call.direction,
                **what,
            )
        )
