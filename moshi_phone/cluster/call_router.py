"""Routing of calls to workers, and fallbacks for calls without a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from loguru import logger

from moshi_phone.access.public_address import PublicAddress
from moshi_phone.access.redact import redact
from moshi_phone.access.refusal import Refusal, RefusalCause, Where
from moshi_phone.cluster.lost_calls import LostCalls
from moshi_phone.cluster.rpc import RpcClient, RpcError, ask_each
from moshi_phone.cluster.worker_client import SOON_SECS, WorkerClient, WorkerReport
from moshi_phone.cluster.worker_load import WorkerLoad
from moshi_phone.server.calls.call_rows import refused_as
from moshi_phone.server.calls.draining import CLOSING
from moshi_phone.server.calls.incoming import (
    instead_of_return,
    note_transfer,
    refuse,
    refuse_call,
    take_message,
)
from moshi_phone.server.calls.next_step import hold
from moshi_phone.server.calls.not_taken import not_taken
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.calls.whisper import whisper
from moshi_phone.telephony import twiml
from moshi_phone.telephony.incoming_call import IncomingCall
from moshi_phone.telephony.remembered_answers import RememberedAnswers
from moshi_phone.telephony.webhooks import ENDED

T = TypeVar("T")

LOOKING_SECS = 7.0
"""Limit of the search for a session. Twilio waits 15 s for the webhook's response."""

PEER_SECS = 0.3
"""Limit of a question to another gateway, on the same machine: while one is restarted, each webhook waits."""

_NO_SESSION = 503  # the HTTP status for it

CheckCaller = Callable[[IncomingCall], Awaitable[Refusal | None]]
"""Returns the reason to refuse a call, or None to accept it."""


class CallRouter:
    """Finds a session for each call, and answers webhooks on the workers' behalf.

    Args:
        state: the gateway's own (``untaken_calls.gateway_state``): calls that no worker takes.
        check_caller: decides which callers are accepted.
    """

    def __init__(self, state: ServerState, check_caller: CheckCaller) -> None:
        self._state = state
        self._options = state.settings.calls
        self._check_caller = check_caller
        self._load = WorkerLoad()  # estimates of free sessions, from reports and own assignments
        self.lost = LostCalls(state)
        self._workers: Mapping[str, WorkerClient] = {}  # by name; replaced with each view from the manager
        self._gateway_url: str | None = None
        self.reports: dict[str, WorkerReport] = {}  # the last report of each worker that answers
        self.closing = False  # while True, no call is routed
        self.refusals = state.refusals
        self.peers: Sequence[RpcClient] = ()  # the other gateways
        self.remembered = RememberedAnswers(self._ask_peers)
        self._telling: set[asyncio.Task[None]] = set()  # keeps references: the event loop holds tasks weakly

    @property
    def workers(self) -> Mapping[str, WorkerClient]:
        """All workers, by name."""
        return self._workers

    def set_workers(self, workers: Mapping[str, WorkerClient], gateway_url: str | None) -> None:
        """Replace the set of workers and the public URL of the webhooks."""
        self._workers, self._gateway_url = workers, gateway_url
        self._load.keep_only(set(workers))
        self.lost.keep_only(set(workers))
        self.reports = {name: report for name, report in self.reports.items() if name in workers}

    async def refresh(self) -> None:
        """Request a report from every worker."""
        await asyncio.gather(*(self._look_at(worker) for worker in self._workers.values()))

    async def answer(self, call: IncomingCall) -> str:
        """Answer the webhook of a new call with TwiML."""
        sid, caller = call.call_sid, redact(call.from_)
        if refusal := await self._check_caller(call):
            self.refusals.note(Where.WEBHOOK, refusal, call_sid=sid, peer=caller)
            not_taken(self._state, call, refused_as(refusal.cause), refusal.reason)
            return twiml.reject("rejected")
        refused = list[Refusal]()
        if document := await self._find(sid, lambda worker: worker.answer(call), refused):
            return document
        return refuse_call(self._why(refused), caller, call, self._state)

    async def after_transfer(self, call: IncomingCall, how: str) -> str:
        """Answer the webhook after a transfer: hang up after a conversation, otherwise resume the call.

        Args:
            call: the call, from the webhook.
            how: Twilio's ``DialCallStatus``.
        """
        if not note_transfer(call, how, self._state):  # otherwise it was redirected here
            await self._ask_everybody("note_transfer", call, how)
        if document := instead_of_return(how, self._state):
            return document
        logger.info("The call returned from a transfer (dial status: {})", redact(how))
        # The worker of the first stream has the call's settings; any worker may take the next stream.
        found = await self.ask_all(lambda worker: worker.export_call(call.call_sid))
        expected: PendingCall | None = next(iter(found), None)
        sid, refused = call.call_sid, list[Refusal]()
        if document := await self._find(sid, lambda worker: worker.import_call(sid, expected), refused):
            return document
        # Not entered: its row is with the worker.
        return refuse(self._why(refused), sid, "a transfer", self.refusals, self._state.fallback(call))

    async def after_message(self, call: IncomingCall) -> str:
        """Have the message that a caller has left stored by the process with the call's row; end the call."""
        is_stored = take_message(call, self._state, is_known=True)
        if not is_stored and not any(await self._ask_everybody("take_message", call)):
            take_message(call, self._state)
        return twiml.hang_up()

    async def whisper(self, call_sid: str) -> str:
        """Answer the webhook of the person who answers a transfer."""
        found = await self.ask_all(lambda worker: worker.whisper(call_sid))
        return next(iter(found), None) or await whisper(call_sid, self._state)

    async def next_step(self, call: IncomingCall, resumes: int, held_secs: int) -> str:
        """Answer with TwiML the webhook of a call whose stream has ended.

        The worker with the call's session continues it. If that worker is gone or ends, another one takes the
        call.

        Args:
            call: the call, from the webhook.
            resumes: number of its streams that broke off before this one.
            held_secs: how long it has been on hold.
        """
        self.lost.note_asked(call.call_sid)
        silent = [name for name in self._workers if self.lost.has_vanished(name)]

        async def ask(worker: WorkerClient) -> str | PendingCall | None:
            try:
                return await worker.next_step(call, resumes)
            except RpcError:
                silent.append(worker.name)
                self._load.mark_full(worker.name)  # requests to a worker that Ray restarts wait
                raise

        found = await self.ask_all(ask)
        if document := next((one for one in found if isinstance(one, str)), None):
            return document
        sid, refused = call.call_sid, list[Refusal]()
        elsewhere = self._state.fallback(call) or twiml.hang_up()
        if resumes >= self._options.resumes:
            logger.warning("The stream broke off {} times; no further stream is tried", resumes + 1)
            return elsewhere
        expected = next((one for one in found if isinstance(one, PendingCall)), None)
        if document := await self._find(sid, lambda worker: worker.resume(call, resumes, expected), refused):
            self.lost.note_moved(sid, silent)
            return document
        # No session is free: keep the caller on hold, and let Twilio ask again.
        if document := hold(resumes, held_secs, self._options, PublicAddress(self._gateway_url)):
            return document
        self.refusals.note(Where.WEBHOOK, self._why(refused), call_sid=sid, peer="a broken stream")
        return elsewhere

    async def _ask_peers(self, signature: str) -> str | None:
        """Return the answer that another gateway has given to a request, by its signature."""
        answers = await ask_each(self.peers, "remembered", signature, within_secs=PEER_SECS)
        return next((one for one in answers if isinstance(one, str)), None)

    def note_status(self, call_sid: str, status: str) -> None:
        """Notify the workers of a call that has ended. Does not block."""
        if status in ENDED:
            telling = asyncio.create_task(self._tell_hung_up(call_sid))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def _tell_hung_up(self, call_sid: str) -> None:
        asked = [worker.note_hung_up(call_sid) for worker in self._workers.values()]
        await asyncio.gather(*asked, return_exceptions=True)  # best effort

    async def create_browser_call(
        self, call_sid: str, body: bytes, content_type: str
    ) -> tuple[int, str, str] | None:
        """Create a browser call; None if no worker has a free session."""
        await self.refresh()
        while not self.closing and (name := self._load.pick()):
            self._load.assign(name)
            try:
                ready = await self._workers[name].create_browser_call(call_sid, body, content_type)
            except (RpcError, KeyError):
                self._load.update(name, None)
                continue
            if ready[0] != _NO_SESSION:
                return ready
            self._load.mark_full(name)
        return None

    async def ask_all(self, question: Callable[[WorkerClient], Awaitable[T | None]]) -> list[T]:
        """Ask all workers concurrently; return the results that are not None. Failing workers are skipped."""
        # not vanished workers: every request would wait for them
        present = [worker for name, worker in self._workers.items() if not self.lost.has_vanished(name)]
        answers = await asyncio.gather(*(question(worker) for worker in present), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, RpcError):
                raise answer
        return [one for one in answers if one is not None and not isinstance(one, BaseException)]

    async def _ask_everybody(self, method: str, *arguments: object) -> list[Any]:
        """Ask all workers and the other gateways; failing ones are skipped."""
        processes = (*self._workers.values(), *self.peers)
        answers = await asyncio.gather(
            *(process.ask(method, *arguments, within_secs=SOON_SECS) for process in processes),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, RpcError):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def _find(
        self, sid: str, question: Callable[[WorkerClient], Awaitable[str | None]], refused: list[Refusal]
    ) -> str | None:
        """Ask workers for a session, one after another; None if none has one. Appends to ``refused``."""
        if self.closing:
            return None
        deadline_s = time.monotonic() + LOOKING_SECS
        for is_refreshed in (False, True):
            if is_refreshed:  # the estimates may be stale: without a session, ask all workers for reports
                await self.refresh()
            while (name := self._load.pick()) and time.monotonic() < deadline_s:
                if document := await self._try(name, sid, question, refused):
                    return document
        return None

    def _why(self, refused: list[Refusal]) -> Refusal:
        # The most specific reason, for log and metrics.
        overload = next((one for one in refused if one.cause is RefusalCause.OVERLOAD), None)
        return overload or self.no_session()

    def no_session(self) -> Refusal:
        """Return the reason why no worker takes a call."""
        if self.closing:
            return Refusal(RefusalCause.CLOSING, CLOSING)
        if any(report.takes_calls for report in self.reports.values()):
            return Refusal(RefusalCause.BUSY, "no worker has a session free")
        if any(report.status and report.status.load.overloaded for report in self.reports.values()):
            return Refusal(RefusalCause.OVERLOAD, "every worker is overloaded or takes no calls")
        return Refusal(RefusalCause.ENGINE, "no worker takes calls")

    async def _try(
        self,
        name: str,
        sid: str,
        question: Callable[[WorkerClient], Awaitable[str | None]],
        refused: list[Refusal],
    ) -> str | None:
        worker = self._workers.get(name)
        if worker is None:
            self._load.update(name, None)
            return None
        self._load.assign(name)  # before the first await: another call may arrive meanwhile
        try:
            # Reserve first, with a short timeout: a dead worker must not cost a hook's timeout.
            if refusal := await worker.reserve(sid):
                refused.append(refusal)
            elif document := await question(worker):
                logger.info("The call is routed to {}", name)
                return document
        except RpcError as error:
            logger.warning("Trying another worker: {}", error)
        self._load.mark_full(name)
        return None

    async def _look_at(self, worker: WorkerClient) -> None:
        try:
            report = await worker.report(self._gateway_url)
        except RpcError:
            self._load.update(worker.name, None)
            self.lost.note_silence(worker.name)
            self.reports.pop(worker.name, None)
        else:
            self.lost.note_report(worker, report)
            self._load.update(worker.name, report)
            self.reports[worker.name] = report
