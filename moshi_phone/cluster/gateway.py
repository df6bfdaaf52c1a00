"""The webhook gateway: answers Twilio's webhooks for all workers, and tells how they are.

Several of them listen on one socket, which the command holds (``runtime/fd_passing.py``), each a process of
its own. So a connection that one has not accepted when it ends waits for the others, or for its successor.
Audio never passes here: the TwiML names the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from socket import socket
from typing import Any

from loguru import logger
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.access.refusal import Refusal
from moshi_phone.access.refusals import RefusalCounts
from moshi_phone.access.source import is_loopback
from moshi_phone.cluster.call_router import CallRouter
from moshi_phone.cluster.cluster_calls import ClusterCalls
from moshi_phone.cluster.gateway_app import create_gateway_app
from moshi_phone.cluster.rpc import RpcClient, RpcError, RpcServer, Transport
from moshi_phone.cluster.worker_client import WorkerClient
from moshi_phone.hooks.callers import CallerRules
from moshi_phone.runtime.fd_passing import offered, offering
from moshi_phone.server.lifecycle import uvicorn_config
from moshi_phone.server.net.http_server import Listening, listening
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.admin import create_admin_app
from moshi_phone.telephony.webhooks import IncomingCall


@dataclass(frozen=True)
class ClusterView:
    """What the manager tells a gateway.

    Attributes:
        workers: how each worker is reached, by name.
        gateways: how each gateway is reached, by name; the first that answers counts calls of one number.
        gateway_url: where webhooks come in (``PublicAddress.base``), or None while there is none.
        ports: where gateways get the sockets to listen on (``runtime/fd_passing.py``).
        closing: why no calls are taken, or None while they are.
    """

    workers: Mapping[str, Any]
    gateways: Mapping[str, Any]
    gateway_url: str | None
    ports: str
    closing: str | None = None


class LastAnswers:
    """An app, whose answers end their connections while it is closing.

    Args:
        app: answers.
        is_closing: tells whether it is.
    """

    def __init__(self, app: ASGIApp, is_closing: Callable[[], bool]) -> None:
        self._app = app
        self._is_closing = is_closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_closing():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, send_last)


LOOK_SECS = 1.0
"""How often each gateway asks the workers how they are."""
JUDGE_SECS = 0.5
OFFER_SECS = 10.0
PORT, ADMIN_PORT = "port", "admin-port"
"""The names of the sockets that the command offers."""


class Gateway(RpcServer):
    """One gateway. What it is first told of the workers opens it.

    Args:
        name: d1, d2, ….
        settings: those of the cluster.
        transport: leads to another process, given what a ``ClusterView`` has of it.
    """

    def __init__(self, name: str, settings: Settings, transport: Callable[[Any], Transport]) -> None:
        super().__init__(name)
        self._settings = settings
        self._transport = transport
        hooks = settings.hooks
        # Checked here, before a worker is asked; only the first gateway counts calls of a number.
        self._rules = CallerRules(hooks.allow, hooks.deny, hooks.calls_per_caller_per_hour)
        self._address = PublicAddress()
        self._view = ClusterView({}, {}, None, ports="")  # replaced as a whole by the manager
        self._stack = AsyncExitStack()  # what the first view opened
        self._sockets: dict[str, socket] = {}  # the listening ones, by name
        self._servers: list[Listening] = []  # one for each socket
        self._offering: asyncio.Task[None] | None = None  # gives the sockets on to the next generation
        self._leaves = False  # answers what it has, and takes no more
        self._peers = dict[str, RefusalCounts]()
        self._looking: asyncio.Task[None] | None = None  # polls the workers
        self._opening = asyncio.Lock()  # the first view opens it, and only that
        self.router = CallRouter(settings.calls, self._judge)
        self.stream_auth = StreamAuth.for_account(settings.twilio.auth_token, self._address)
        self.dashboard_auth = DashboardAuth(settings.web, self.is_public)

    @property
    def closing(self) -> str | None:
        """Why no calls are taken, or None while they are."""
        return self._view.closing

    async def look(self, view: ClusterView) -> None:
        """Take in which workers and gateways there are. The first time, begin to answer.

        Raises:
            NotOffered: when the command that has the port is gone.
        """
        self._view, self._address.base = view, view.gateway_url
        workers = {  # new ones: after an update another process may have an old one's name
            name: WorkerClient(name, self._transport(handle)) for name, handle in view.workers.items()
        }
        self.router.set_workers(workers, view.gateway_url)
        self.router.closing = view.closing is not None
        async with self._opening:  # two may come at once, where the first was given up
            if self._looking is None:
                await self._open()

    async def refusals(self) -> RefusalCounts:
        """Give what this gateway has refused."""
        return self.router.refusals.counts

    async def judge(self, from_: str, call_sid: str) -> Refusal | None:
        """Say why this number may not call, or None where it may; counts the call."""
        return self._rules.refusal(from_, call_sid, asyncio.get_running_loop().time())

    async def close(self) -> bool:
        """Take no new connections; gives whether all requests of those that there were are answered."""
        if not self._leaves:
            self._leaves = True
            for server in self._servers:
                server.accept_no_more()
        return not any(server.connections for server in self._servers)

    async def offer(self) -> str | None:
        """Give the sockets to a command that takes the place of the one before; the path at which to ask."""
        if self._leaves or not self._servers:
            return None
        path = asyncio.get_running_loop().create_future()

        async def offer() -> None:
            taken = asyncio.Event()
            async with offering(self._sockets, taken) as where:
                path.set_result(where)
                with suppress(TimeoutError):
                    await asyncio.wait_for(taken.wait(), OFFER_SECS)

        self._offering = asyncio.create_task(offer())
        return str(await path)

    async def stop(self) -> None:
        """End at once."""
        if self._offering is not None:
            self._offering.cancel()
        if self._looking is not None:
            self._looking.cancel()
        await self._stack.aclose()

    async def _open(self) -> None:
        await self.router.refresh()
        self._sockets = sockets = await offered(self._view.ports)
        calls = ClusterCalls(self.router, lambda: self._view.closing, self.all_refusals)
        app = create_gateway_app(calls, self.router, self.stream_auth, self.dashboard_auth, self.is_public)
        apps: dict[str, ASGIApp] = {PORT: app, ADMIN_PORT: create_admin_app(calls, self._settings.web)}
        for name, listener in sockets.items():
            config = uvicorn_config(LastAnswers(apps[name], lambda: self._leaves))
            self._servers.append(await self._stack.enter_async_context(listening(config, listener)))
        self._looking = asyncio.create_task(self._keep_looking())
        server = self._settings.server
        logger.info("Gateway {} answers at {}:{}", self.name, server.host, server.port)

    async def _judge(self, call: IncomingCall) -> Refusal | None:
        """Ask the first gateway: how often a number has called must be counted in one place."""
        for name, handle in self._view.gateways.items():
            if name == self.name or not self._settings.hooks.calls_per_caller_per_hour:
                break
            asker = RpcClient(name, self._transport(handle))
            try:
                refusal: Refusal | None = await asker.ask(
                    "judge", call.from_, call.call_sid, within_secs=JUDGE_SECS
                )
            except RpcError as error:
                logger.warning("Counting calls of one number: {}", error)
            else:
                return refusal
        return await self.judge(call.from_, call.call_sid)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECS)
            await asyncio.gather(self.router.refresh(), self._ask_peers())

    async def _ask_peers(self) -> None:
        """Learn what the other gateways have refused: whichever is asked for metrics answers for all."""

        async def ask(name: str, handle: Any) -> tuple[str, RefusalCounts] | None:
            asker = RpcClient(name, self._transport(handle))
            try:
                return name, await asker.ask("refusals", within_secs=JUDGE_SECS)
            except RpcError:
                return None

        others = [(name, handle) for name, handle in self._view.gateways.items() if name != self.name]
        answers = await asyncio.gather(*(ask(name, handle) for name, handle in others))
        self._peers = dict(answer for answer in answers if answer is not None)

    def all_refusals(self) -> dict[str, RefusalCounts]:
        """Give what each gateway has refused, by its name; of the others, as of a second ago."""
        return {self.name: self.router.refusals.counts, **self._peers}

    def is_public(self) -> bool:
        """Tell whether the gateway can be reached from elsewhere."""
        return self._address.base is not None or not is_loopback(self._settings.server.host)
