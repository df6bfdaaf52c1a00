"""State shared by all calls of this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

from fastapi import WebSocket

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.access.public_address import RECORDED_PATH, TRANSFERRED_PATH, PublicAddress
from moshi_phone.access.redact import redact
from moshi_phone.access.refusals import Refusals
from moshi_phone.access.source import is_loopback
from moshi_phone.access.tokens import StreamTokens
from moshi_phone.conversation import silero
from moshi_phone.conversation.live import Judge
from moshi_phone.engines.choose import EngineChoice
from moshi_phone.engines.duplex import DuplexEngine, DuplexSession
from moshi_phone.engines.personas import NO_PERSONAS, Personas
from moshi_phone.hooks.callers import CallerRules
from moshi_phone.hooks.http import Hook
from moshi_phone.hooks.outbox import SEND_SECS, Outbox
from moshi_phone.records.call_history import CallHistory
from moshi_phone.records.call_row import CallRow
from moshi_phone.records.call_store import CallStore
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.retention import retaining
from moshi_phone.runtime.daemon_threads import in_daemon_thread
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.calls import Calls
from moshi_phone.server.calls.load import Load, watch_load
from moshi_phone.server.calls.messages import Messages
from moshi_phone.server.calls.next_steps import NextSteps
from moshi_phone.server.calls.options import fallback
from moshi_phone.server.calls.pending import PendingCalls, Reservations
from moshi_phone.server.calls.reports import Reports
from moshi_phone.server.calls.reviews import Reviews
from moshi_phone.server.calls.summary import row_report
from moshi_phone.server.settings import Settings
from moshi_phone.server.startup import Startup
from moshi_phone.telephony.incoming_call import IncomingCall
from moshi_phone.telephony.rest import TwilioApi
from moshi_phone.telephony.voice_recordings import VoiceRecordings
from pipelines.choose import MakePipeline, choose_pipeline

FETCH_AT_END_SECS = 3.0  # for running downloads of messages
BEGIN_SECS = 5.0  # time for --on-begin to answer
CLOSE_STORE_SECS = 5.0  # time for writing the last rows


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class ServerState:
    """State shared by all calls of this process.

    Attributes:
        engine: answers the calls.
        settings: all options.
        rest: Twilio's REST API, if credentials are set.
        calls: running and recently ended calls.
        auth: access control of streams and webhooks.
        refusals: counts of refused calls.
        reservations: sessions reserved for connected calls without a stream.
        personas: assigns personas to calls.
        expected: decisions on calls whose streams have not started.
        next_steps: decisions on calls whose streams have ended.
        history: rows of recent calls, and of all calls with ``--calls-db``.
        load: whether another call would delay the running ones.
        outbox: delivers reports to ``--on-end``; None without a hook.
        reports: creates reports for the outbox, and for ``--on-begin``.
        startup: progress of the engine's start.
        engine_reason: why this engine was chosen, to follow its name.
        files: writes recordings and transcripts.
        judge: measures conversations in its own thread.
        clock: returns seconds, monotonic.
        now: returns the time of day, with its zone.
        line_number: the number routed here by ``--number``, E.164.
        loading: the engine's start, if calls may arrive before its end; they ring until then. None
            afterwards.
        webhook_base_url: base of Twilio's webhooks, if different from that of streams: the gateway of a
            cluster, or a URL shared by several servers.
    """

    engine: DuplexEngine
    settings: Settings = field(default_factory=Settings)
    rest: TwilioApi | None = None
    calls: Calls = field(default_factory=Calls)
    auth: StreamAuth = field(default_factory=StreamAuth)
    refusals: Refusals = field(default_factory=Refusals)
    reservations: Reservations = field(default_factory=Reservations)
    personas: Personas = NO_PERSONAS
    expected: PendingCalls = field(default_factory=PendingCalls)
    next_steps: NextSteps = field(default_factory=NextSteps)
    history: CallHistory = field(default_factory=CallHistory)
    load: Load = field(default_factory=Load)
    outbox: Outbox | None = None
    reports: Reports = field(default_factory=Reports)
    startup: Startup = field(default_factory=Startup)
    engine_reason: str = ""
    files: FileWriter = field(default_factory=FileWriter)
    judge: Judge = field(default_factory=lambda: Judge(ThreadPoolExecutor(1, "conversation")))
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now
    webhook_base_url: PublicAddress | None = None
    line_number: str | None = None
    loading: asyncio.Future[None] | None = None

    @classmethod
    def create(
        cls,
        settings: Settings,
        choice: EngineChoice,
        *,
        tokens: StreamTokens | None = None,
        webhook_base_url: PublicAddress | None = None,
    ) -> ServerState:
        """Create the state from the settings. Nothing is started.

        Args:
            settings: all options.
            choice: the engine, from ``create_engine``.
            tokens: mints and verifies stream tokens; by default, keyed by the auth token.
            webhook_base_url: base of Twilio's webhooks, if not this server.

        Raises:
            BadPublicUrl, BadCredential: one sentence that names the remedy.
        """
        address, streams = settings.address(), settings.stream_address()
        auth = StreamAuth.for_account(
            settings.twilio.auth_token, streams or address, insecure=settings.reach.insecure
        )
        auth.tokens = tokens or auth.tokens
        hooks, taps = settings.hooks, settings.taps
        outbox = None
        if hooks.on_end:
            outbox = Outbox(Hook(hooks.on_end, hooks.hook_secret, SEND_SECS), hooks.on_end_folder)
        return cls(
            choice.engine,
            settings,
            settings.rest_api_if_set(),
            auth=auth,
            personas=choice.personas,
            history=CallHistory(
                CallStore(taps.calls_db, taps.keep_days) if taps.calls_db else None,
                redact if taps.redact == "digits" else str,
            ),
            outbox=outbox,
            engine_reason=choice.reason,
            webhook_base_url=webhook_base_url or (address if streams else None),
        )

    @asynccontextmanager
    async def background(self) -> AsyncIterator[None]:
        """Deliver reports and delete old files while the block runs. Enter it before the first call.

        By the end of the block, the last call should have ended: its report is then delivered, or stored for
        the next start.
        """
        async with AsyncExitStack() as stack:
            self.judge.worker.submit(silero.load)  # takes a second, which the first call should not wait for
            stack.callback(self.judge.worker.shutdown, wait=False)
            await stack.enter_async_context(self.storing())
            # deletes files older than --keep-days
            await stack.enter_async_context(retaining(self.settings.taps, self.files))
            watching = asyncio.create_task(watch_load(self.load, self.calls.count_frames))
            stack.callback(watching.cancel)
            yield

    @asynccontextmanager
    async def storing(self) -> AsyncIterator[None]:
        """Store rows and messages, and deliver reports, while the block runs."""
        async with AsyncExitStack() as stack:
            if isinstance(store := self.history.store, CallStore):
                loop = asyncio.get_running_loop()

                def report(rows: list[CallRow]) -> None:
                    loop.call_soon_threadsafe(self._report_interrupted, rows)

                store.on_interrupted = report
                store.start()
                stack.push_async_callback(
                    in_daemon_thread, partial(store.close, CLOSE_STORE_SECS), "calls-db-end"
                )
            if self.outbox is not None:
                self.outbox.start()
                stack.push_async_callback(self.outbox.stop)  # runs after reports.stop, which still adds to it
            stack.push_async_callback(self.reports.stop, self.outbox)
            if self.messages is not None:
                stack.push_async_callback(self.messages.stop, FETCH_AT_END_SECS)
            yield

    def _report_interrupted(self, rows: list[CallRow]) -> None:
        for row in rows:
            self.reports.send(self.outbox, row_report(row, None))

    @property
    def webhooks(self) -> PublicAddress:
        """Base URL of Twilio's webhooks."""
        return self.webhook_base_url or self.auth.address

    @cached_property  # one for all calls: it counts the calls of each number
    def caller_rules(self) -> CallerRules:
        """Rules on which numbers may call."""
        hooks = self.settings.hooks
        return CallerRules(hooks.allow, hooks.deny, hooks.calls_per_caller_per_hour)

    @cached_property
    def on_call(self) -> Hook | None:
        """The hook called for each incoming call; None without one."""
        hooks = self.settings.hooks
        return Hook(hooks.on_call, hooks.hook_secret) if hooks.on_call else None

    @cached_property
    def on_begin(self) -> Hook | None:
        """The hook called when a call begins; None without one."""
        hooks = self.settings.hooks
        return Hook(hooks.on_begin, hooks.hook_secret, BEGIN_SECS) if hooks.on_begin else None

    @property
    def recorded_url(self) -> str | None:
        """URL at which Twilio reports messages; None if callers cannot leave any."""
        return self.webhooks.https(RECORDED_PATH) if self.messages else None

    @cached_property
    def messages(self) -> Messages | None:
        """Stores callers' messages; None if they cannot leave any."""
        folder = self.settings.taps.fallback_record
        recordings = VoiceRecordings.of_account(self.settings.twilio)
        if folder is None or recordings is None:
            return None
        return Messages(folder, recordings, self.history, self.outbox)

    def fallback(self, incoming: IncomingCall | None, *, is_runners: bool = False) -> str | None:
        """Return the TwiML for a call that cannot be served; None without a fallback.

        Args:
            incoming: the call; None without a webhook of ours.
            is_runners: whether pipecat's runner has answered its webhook; otherwise it is no phone call.
        """
        return fallback(
            self.settings.calls,
            incoming,
            recorded_url=self.recorded_url if incoming or is_runners else None,
            transferred_url=self.webhooks.https(TRANSFERRED_PATH),
        )

    @cached_property
    def reviews(self) -> Reviews:
        """Evaluates recordings (``--review``)."""
        return Reviews(self.calls)

    @cached_property
    def make_pipeline(self) -> MakePipeline:
        """Builds a call's pipeline, as chosen by ``--pipeline``."""
        return choose_pipeline(self.settings.server.pipeline)

    @cached_property
    def dashboard_auth(self) -> DashboardAuth:
        """Access control of the pages; one for all routes, since it counts wrong passwords."""
        return DashboardAuth(self.settings.web, self.is_public)

    def is_public(self) -> bool:
        """Return whether other machines can reach the server."""
        return self.auth.address.base is not None or not is_loopback(self.settings.server.host)

    def mint(self, call_sid: str) -> str:
        """Mint the token that admits one stream of this call."""
        return self.auth.tokens.mint(call_sid, self.auth.clock())


RunCall = Callable[[WebSocket, Call, DuplexSession, ServerState], Coroutine[Any, Any, None]]
