"""Phone calls whose worker no longer answers, from the gateway's view.

They are redirected through Twilio's API, because Twilio does not notice that a machine has vanished. A worker
that is back learns which of its calls have moved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from loguru import logger

from moshi_phone.cluster.moved_calls import MovedCalls
from moshi_phone.cluster.rpc import RpcClient, RpcError, ask_each
from moshi_phone.cluster.silent_workers import SilentWorkers
from moshi_phone.cluster.worker_client import SOON_SECS, WorkerClient, WorkerReport
from moshi_phone.runtime.call_log import call_context
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony import twiml
from moshi_phone.telephony.rest_errors import TwilioError

_TOGETHER = 8  # concurrent requests to Twilio's API; each takes a thread


class LostCalls:
    """Redirects the calls of vanished workers, and ends the sessions of calls that moved.

    Args:
        state: has Twilio's API and the public URL.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._silent = SilentWorkers()
        self._moved = MovedCalls()
        self._tasks: set[asyncio.Task[None]] = set()  # keeps references: the event loop holds tasks weakly

    @property
    def in_doubt(self) -> bool:
        """Whether to ask for reports again at once: a worker with calls has missed one request."""
        return self._silent.in_doubt

    def keep_only(self, workers: Collection[str]) -> None:
        """Drop all workers except these."""
        self._silent.keep_only(workers)

    def note_report(self, worker: WorkerClient, report: WorkerReport) -> None:
        """Store the calls of a worker, and end those that have moved. Does not block."""
        self._silent.note(worker.name, report.phone_calls, time.monotonic())
        if moved := self._moved.take(worker.name, report.phone_calls):
            logger.info("{} answers again; {} of its calls have moved", worker.name, len(moved))
            self._run(_release(worker, moved))

    def note_silence(self, worker: str) -> None:
        """Count a request that a worker did not answer."""
        self._silent.note_silence(worker)

    def has_vanished(self, worker: str) -> bool:
        """Return whether a worker has not answered for long."""
        return self._silent.has_vanished(worker, time.monotonic())

    def note_asked(self, call_sid: str) -> None:
        """Record that Twilio has asked what to do next in a call."""
        self._silent.note_asked(call_sid, time.monotonic())

    def note_moved(self, call_sid: str, silent: Collection[str]) -> None:
        """Record that another worker has a call now, and which workers did not answer."""
        self._moved.note(call_sid, silent)

    def asked(self, call_sids: Collection[str]) -> list[str]:
        """Return those of the calls about which Twilio has asked this gateway lately."""
        return self._silent.asked(call_sids)

    def redirect(self, peers: Sequence[RpcClient], *, is_first: bool) -> None:
        """Have Twilio ask for the next step of the calls of vanished workers. Does not block.

        Args:
            peers: the other gateways.
            is_first: whether this gateway is the one that does so.
        """
        lost = self._silent.take_lost(time.monotonic())
        if lost and is_first:
            self._run(self._redirect(lost, peers))

    async def _redirect(self, lost: Mapping[str, int], peers: Sequence[RpcClient]) -> None:
        heard = await ask_each(peers, "asked", list(lost), within_secs=SOON_SECS)
        asked = {sid for sids in (self.asked(lost), *heard) for sid in sids}
        left = {sid: resumes for sid, resumes in lost.items() if sid not in asked}
        if not left:
            return
        if self._state.rest is None or self._state.webhooks.base is None:
            logger.warning("{} calls hang on a dead worker: they need TWILIO_ACCOUNT_SID", len(left))
            return
        logger.warning("Redirecting {} calls of a worker that does not answer", len(left))
        turns = asyncio.Semaphore(_TOGETHER)
        await asyncio.gather(*(self._redirect_one(sid, resumes, turns) for sid, resumes in left.items()))

    async def _redirect_one(self, call_sid: str, resumes: int, turns: asyncio.Semaphore) -> None:
        url = self._state.webhooks.https(twiml.next_path(resumes, question=twiml.new_question()))
        assert self._state.rest is not None  # noqa: S101 - both are checked by the caller
        assert url is not None  # noqa: S101
        with call_context(call_sid):
            try:
                async with turns:
                    await self._state.rest.redirect(call_sid, twiml.ask(url))
            except TwilioError as error:  # usually because the caller has hung up
                logger.info("The call cannot be resumed: {}", error)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _release(worker: WorkerClient, moved: list[str]) -> None:
    with suppress(RpcError):  # without media, its sessions end by themselves
        await worker.release(moved)
