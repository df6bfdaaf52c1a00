"""One worker: a complete server with its engine, and its requests from gateways and the manager.

It is the ordinary server, ``server/lifecycle.py``, with three differences: its stream tokens have a key of
their own, so that no other worker accepts them; Twilio's webhooks go to the gateway; and the gateway decides
which callers are accepted.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

from fastapi import HTTPException
from loguru import logger

from moshi_phone.access.public_address import STREAM_PATH, PublicAddress
from moshi_phone.access.refusal import Refusal, RefusalCause
from moshi_phone.access.source import is_loopback
from moshi_phone.access.tokens import StreamTokens
from moshi_phone.cluster.cluster_history import answer_page
from moshi_phone.cluster.routed_calls import RoutedCalls
from moshi_phone.cluster.rpc import RpcServer
from moshi_phone.cluster.worker_client import WorkerReport
from moshi_phone.cluster.worker_spec import WorkerSpec
from moshi_phone.runtime.errors import UserError
from moshi_phone.runtime.stop_signals import Stopped, StopSignals
from moshi_phone.server.calls.admission import reserve
from moshi_phone.server.calls.answering import connect
from moshi_phone.server.calls.draining import CLOSING, drain
from moshi_phone.server.calls.incoming import answer_call, note_transfer, take_message
from moshi_phone.server.calls.next_step import may_resume, next_step, note_hung_up, phone_calls
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.state import RunCall, ServerState
from moshi_phone.server.calls.whisper import whisper
from moshi_phone.server.lifecycle import listen, running_server
from moshi_phone.server.web.browser_phone import chosen
from moshi_phone.server.web.calls_source import CallUpdate
from moshi_phone.server.web.health import status_of
from moshi_phone.server.web.history_source import HistorySource
from moshi_phone.server.web.local_calls import LocalCalls
from moshi_phone.telephony.incoming_call import IncomingCall

GONE = "the worker is not there any more"


class Worker(RpcServer):
    """One worker. The first ``report`` starts it; ``end`` lets its calls finish and stops it.

    Args:
        spec: its name, settings and address.
        run_call: runs one call.
    """

    def __init__(self, spec: WorkerSpec, run_call: RunCall) -> None:
        super().__init__(spec.name)
        self._spec = spec
        self._run_call = run_call
        self._gateway = PublicAddress()  # the webhooks' public URL; set by each report, may change
        self._stop = StopSignals()  # requested by gateways and the manager, not by signals
        self._state: ServerState | None = None  # None until the server starts to load its engine
        self._calls: LocalCalls | None = None  # likewise
        self._running: asyncio.Task[None] | None = None  # the server, from the first report on
        self._failure: str | None = None  # one sentence on why the start failed
        self._port = 0  # known once it listens
        self._routed = RoutedCalls(time.monotonic)

    async def report(self, gateway_url: str | None) -> WorkerReport:
        """Return this worker's report; the first one starts the server.

        Args:
            gateway_url: the webhooks' public URL (``PublicAddress.base``); it may change.
        """
        self._gateway.base = gateway_url
        if self._running is None:
            # Start with the first report: an earlier failure would be reported to no one.
            self._running = asyncio.create_task(self._run(), name=f"worker {self.name}")
        state = self._state
        return WorkerReport(
            self.name,
            url=state.auth.address.base if state else None,
            closing=self._leaves is not None,
            over=self._running.done(),
            failure=self._failure,
            status=status_of(state) if state else None,
            phone_calls=phone_calls(state) if state else {},
        )

    async def running_calls(self) -> list[dict[str, Any]]:
        """See ``CallsSource``."""
        return await self._calls.running_calls() if self._calls else []

    async def reserve(self, call_sid: str) -> Refusal | None:
        """Reserve a session for a call, or return the reason why there is none."""
        if leaves := self._leaves:
            return Refusal(RefusalCause.CLOSING, leaves)
        if self._state is None:
            return Refusal(RefusalCause.ENGINE, GONE)
        return reserve(self._state, call_sid)

    async def answer(self, call: IncomingCall) -> str | None:
        """Answer a new call with TwiML that connects to this worker; None if no session is free."""
        # Reserve the session before the hook request, which may take two seconds.
        if self._state is None or await self.reserve(call.call_sid):
            return None
        with self._routed.answering():
            document = await answer_call(call, self._state)
        self._routed.note(call.call_sid)
        return document

    async def export_call(self, call_sid: str) -> PendingCall | None:
        """Remove and return the settings of a call that continues elsewhere; None if unknown here."""
        if self._state is None:
            return None
        step = self._state.next_steps.peek(call_sid)
        if isinstance(step, PendingCall):
            self._state.next_steps.forget(call_sid)
            return step
        # Removed here: two workers must not both hold the call's settings.
        expected = self._state.expected.pop(call_sid, self._state.clock())
        return None if expected == PendingCall() else expected

    async def import_call(self, call_sid: str, expected: PendingCall | None) -> str | None:
        """Take a call that returns from a transfer; return TwiML, or None if no session is free."""
        if self._state is None or await self.reserve(call_sid):
            return None
        if expected is not None:
            self._state.expected.add(call_sid, expected, self._state.clock())
        self._routed.note(call_sid)
        return connect(call_sid, self._state)

    async def next_step(self, call: IncomingCall, resumes: int) -> str | PendingCall | None:
        """Answer with TwiML a call whose stream has ended, if this worker has its session or its next step.

        Otherwise remove and return the call's settings (see ``export_call``); None if unknown here.
        """
        state, sid = self._state, call.call_sid
        if state is None or not (state.calls.resumable(sid) or isinstance(state.next_steps.peek(sid), str)):
            return await self.export_call(sid)
        return await next_step(call, resumes, 0, state)

    async def resume(self, call: IncomingCall, resumes: int, expected: PendingCall | None) -> str | None:
        """Take a call whose stream broke off; return TwiML, or None if no session is free.

        Args:
            call: the call, from the webhook.
            resumes: number of its streams that broke off before this one.
            expected: the call's settings from its earlier worker; None if that worker is gone.
        """
        state = self._state
        if state is None or await self.reserve(call.call_sid):
            return None
        if expected is not None:
            state.next_steps.resume(call.call_sid, expected)
        with self._routed.answering():
            document = await next_step(call, resumes, 0, state)
        self._routed.note(call.call_sid)
        return document

    async def note_hung_up(self, call_sid: str) -> None:
        """Free the state of a phone call that has ended."""
        if self._state is not None:
            note_hung_up(call_sid, self._state)

    async def release(self, call_sids: list[str]) -> None:
        """End the sessions of phone calls that another worker has taken; the phone calls continue there."""
        if self._state is not None:
            for call_sid in call_sids:
                self._state.next_steps.forget(call_sid)  # otherwise Twilio would be redirected to this worker
                self._state.calls.replace_stream(call_sid)

    async def page(self, method: str, arguments: tuple[Any, ...]) -> tuple[int, Any]:
        """Answer a gateway's request for the Calls page."""
        if self._state is None:
            return 503, GONE
        return await answer_page(HistorySource(self._state), method, arguments)

    async def note_transfer(self, call: IncomingCall, how: str) -> bool:
        """Enter and report the result of a transfer; return whether the call's row is here."""
        return self._state is not None and note_transfer(call, how, self._state)

    async def take_message(self, call: IncomingCall) -> bool:
        """Store the message that a caller has left, if the call's row is here; return whether it is."""
        return self._state is not None and take_message(call, self._state, is_known=True)

    async def whisper(self, call_sid: str) -> str | None:
        """Return the TwiML for the person who answers a transfer; None if the call is unknown here."""
        if self._state is None or self._state.calls.find(call_sid) is None:
            return None
        return await whisper(call_sid, self._state)

    async def details(self, call_sid: str) -> dict[str, Any] | None:
        """See ``CallsSource``; None if the call is not this worker's."""
        return await self._calls.details(call_sid) if self._calls else None

    async def update(self, call_sid: str, pieces: int) -> CallUpdate | None:
        """See ``CallsSource``; None if the call is not this worker's."""
        return await self._calls.update(call_sid, pieces) if self._calls else None

    async def say(self, call_sid: str, text: str) -> tuple[int, str] | None:
        """See ``CallsSource``; None if the call is not this worker's."""
        return await self._calls.say(call_sid, text) if self._calls else None

    async def scrape(self) -> str:
        """See ``CallsSource``."""
        return (await self._calls.scrape()).decode() if self._calls else ""

    async def offers(self) -> dict[str, list[str]]:
        """See ``CallsSource``."""
        return await self._calls.offers() if self._calls else {"personas": [], "voices": []}

    async def create_browser_call(
        self, call_sid: str, body: bytes, content_type: str
    ) -> tuple[int, str, str]:
        """Prepare a browser call.

        Args:
            call_sid: the call's SID.
            body: the page's request (``server/web/browser_phone.py``).
            content_type: the body's content type.

        Returns:
            The HTTP status; the token, or the reason for an error; and the stream's URL, or an empty string.
        """
        if self._state is None or await self.reserve(call_sid):
            return 503, "all sessions are taken", ""
        try:
            wanted = chosen(self._state, body, content_type)
        except HTTPException as refusal:
            self._state.reservations.release(call_sid)
            return refusal.status_code, str(refusal.detail), ""
        self._state.expected.add(call_sid, wanted, self._state.clock())
        url = self._state.auth.address.wss(STREAM_PATH)
        if url is None:
            host = self._spec.settings.server.host
            url = f"ws://{host}:{self._port}{STREAM_PATH}" if is_loopback(host) else ""
        self._routed.note(call_sid)
        return 200, self._state.mint(call_sid), url

    @property
    def _leaves(self) -> str | None:
        """Why no new calls are routed here, or None while they are."""
        return CLOSING if self._stop.stop_requested.is_set() else None

    async def end(self) -> None:
        """Take no new calls, and end after the last running one. Does not block."""
        if not self._stop.stop_requested.is_set():
            self._stop.receive()

    async def hang_up(self) -> None:
        """Hang up all calls and end. Does not block."""
        self._stop.stop_requested.set()
        self._stop.force_requested.set()

    async def _run(self) -> None:
        spec = self._spec
        try:
            listener = listen(spec.settings.server.host, spec.port)
            self._port = listener.getsockname()[1]
            settings = spec.own_settings(self._port)
            async with running_server(
                listener,
                self._stop,
                settings,
                self._run_call,
                tokens=StreamTokens.from_auth_token(None),  # a random key
                webhook_base_url=self._gateway,
            ) as state:
                self._state, self._calls = state, LocalCalls(state)
                logger.info("Worker {} takes calls at {}", spec.name, state.auth.address.base)
                await self._stop.stop_requested.wait()
                # Streams of calls already routed here may still arrive: Twilio needs about a second.
                coming = asyncio.ensure_future(
                    self._routed.wait(lambda sid: state.calls.find(sid) is not None)
                )
                await self._stop.wait_unless_forced(coming, within_secs=settings.server.drain_secs)
                coming.cancel()
                await drain(
                    state.calls,
                    self._stop,
                    settings.server.drain_secs,
                    logger.info,
                    partial(may_resume, state=state),
                )
            logger.info("Worker {} has ended", spec.name)
        except Stopped:
            logger.info("Worker {} was stopped before it was ready", spec.name)
        except UserError as error:
            self._failure = str(error)
            logger.error("Worker {} cannot start: {}", spec.name, error)
        except Exception as error:
            self._failure = type(error).__name__
            logger.exception("Worker {} failed", spec.name)
