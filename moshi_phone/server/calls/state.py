"""What all calls of this process share."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fastapi import WebSocket

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.access.options import WebOptions
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.access.refusals import Refusals
from moshi_phone.access.source import is_loopback
from moshi_phone.engines.duplex import HANG_SECS, DuplexEngine, DuplexSession
from moshi_phone.engines.personas import NO_PERSONAS, Personas
from moshi_phone.hooks.callers import CallerRules
from moshi_phone.hooks.http import Hook
from moshi_phone.hooks.options import HookOptions
from moshi_phone.hooks.outbox import Outbox
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.call import Call, Calls
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.pending import PendingCalls, Reservations
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.startup import EngineLog, Startup
from moshi_phone.telephony.rest import TwilioApi
from pipelines.choose import MakePipeline, choose_pipeline


@dataclass
class ServerState:
    """What all calls of this process share.

    Attributes:
        engine: who answers.
        options: how the line is set.
        rest: for hanging up by REST, where there are credentials.
        calls: those that run.
        auth: who may come in.
        refusals: who was not let in.
        reservations: the calls that were connected and are not here yet.
        taps: what is kept of them.
        web: who may talk and watch in a browser.
        call_options: what may happen in a call beside talking.
        hooks: which numbers may call, and who is asked and told of calls.
        personas: who answers which call, where that was said.
        expected: what was decided of calls whose streams are still to come.
        outbox: tells ``--on-end`` of calls that are over, where that is wanted.
        startup: how far the engine has come.
        engine_reason: why this engine answers, to be read behind its name.
        files: writes what is kept of them.
        hang_secs: for how long a session may owe an answer before its call is ended.
        clock: gives seconds, monotonic.
        engine_log: what was logged of the engine's health.
        desk: where Twilio's webhooks go, where that is not where streams come to: the desk of a cluster, or
            a URL that servers share.
    """

    engine: DuplexEngine
    options: ServerOptions = field(default_factory=ServerOptions)
    rest: TwilioApi | None = None
    calls: Calls = field(default_factory=Calls)
    auth: StreamAuth = field(default_factory=StreamAuth)
    refusals: Refusals = field(default_factory=Refusals)
    reservations: Reservations = field(default_factory=Reservations)
    taps: TapOptions = field(default_factory=TapOptions)
    web: WebOptions = field(default_factory=WebOptions)
    call_options: CallOptions = field(default_factory=CallOptions)
    hooks: HookOptions = field(default_factory=HookOptions)
    personas: Personas = NO_PERSONAS
    expected: PendingCalls = field(default_factory=PendingCalls)
    outbox: Outbox | None = None
    startup: Startup = field(default_factory=Startup)
    engine_reason: str = ""
    files: FileWriter = field(default_factory=FileWriter)
    hang_secs: float = HANG_SECS
    clock: Callable[[], float] = time.monotonic
    engine_log: EngineLog = field(default_factory=EngineLog)
    webhook_base_url: PublicAddress | None = None

    @property
    def webhooks(self) -> PublicAddress:
        """Where Twilio's webhooks go."""
        return self.webhook_base_url or self.auth.address

    @cached_property  # one for all calls: it counts how often a number has called
    def caller_rules(self) -> CallerRules:
        """Which numbers may call."""
        return CallerRules(self.hooks.allow, self.hooks.deny, self.hooks.calls_per_caller_per_hour)

    @cached_property
    def on_call(self) -> Hook | None:
        """Who is asked when a call comes in."""
        return Hook(self.hooks.on_call, self.hooks.hook_secret) if self.hooks.on_call else None

    @cached_property
    def make_pipeline(self) -> MakePipeline:
        """Assembles a call, as the options say."""
        return choose_pipeline(self.options.pipeline)

    @cached_property
    def dashboard_auth(self) -> DashboardAuth:
        """Who may look on; one for all routes, since it counts wrong passwords."""
        return DashboardAuth(self.web, self.is_public)

    def is_public(self) -> bool:
        """Tell whether the server can be reached from elsewhere."""
        return self.auth.address.base is not None or not is_loopback(self.options.host)

    def mint(self, call_sid: str) -> str:
        """Make what lets one stream of this call in."""
        return self.auth.tokens.mint(call_sid, self.auth.clock())


RunCall = Callable[[WebSocket, Call, DuplexSession, ServerState], Coroutine[Any, Any, None]]
