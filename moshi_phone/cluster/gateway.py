"""The webhook gateway: answers Twilio's webhooks for all workers, and serves their health and metrics.

Several gateway processes listen on one socket, which the command owns (``runtime/fd_passing.py``). When one
ends, connections that it has not accepted wait for the other gateways or its successor. Audio does not pass
through a gateway: the TwiML contains the worker's URL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
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
from moshi_phone.cluster.cluster_history import ClusterHistory, answer_page
from moshi_phone.cluster.gateway_app import create_gateway_app
from moshi_phone.cluster.rpc import RpcClient, RpcError, RpcServer, Transport
from moshi_phone.cluster.untaken_calls import adopt_reports, gateway_state
from moshi_phone.cluster.worker_client import WorkerClient
from moshi_phone.hooks.callers import CallerRules
from moshi_phone.runtime.daemon_threads import in_daemon_thread
from moshi_phone.runtime.fd_passing import offered, offering
from moshi_phone.server.calls.incoming import note_transfer, take_message
from moshi_phone.server.net.http_server import Listening, listening, uvicorn_config
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.admin import create_admin_app
from moshi_phone.server.web.history_source import HistorySource
from moshi_phone.telephony.incoming_call import IncomingCall


@dataclass(frozen=True)
class ClusterView:
    """The cluster's state, sent by the manager to each gateway.

    Attributes:
        workers: each worker's handle, by name.
        gateways: each gateway's handle, by name; the first that answers counts calls by number.
        gateway_url: the webhooks' public URL (``PublicAddress.base``), or None while there is none.
        ports: path at which gateways receive the listening sockets (``runtime/fd_passing.py``).
        closing: why no calls are taken, or None while they are.
    """

    workers: Mapping[str, Any]
    gateways: Mapping[str, Any]
    gateway_url: str | None
    ports: str
    closing: str | None = None


class LastAnswers:
    """ASGI middleware that closes each connection after its response while the gateway is closing.

    Args:
        app: the app to wrap.
        is_closing: whether the gateway is closing.
    """

    def __init__(self, app: ASGIApp, is_closing: Callable[[], bool]) -> None:
        self._app = app
        self._is_closing = is_closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request to the app."""

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_closing():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, send_last)


LOOK_SECS = 1.0
"""Interval at which each gateway requests the workers' reports."""
ASK_SECS = 0.5
OFFER_SECS = 10.0
PORT, ADMIN_PORT = "port", "admin-port"
"""Names of the sockets that the command offers."""


class Gateway(RpcServer):
    """One gateway. It opens when it receives the first view of the workers.

    Args:
        name: d1, d2, ….
        settings: the cluster's settings.
        transport: returns the transport to another process, from its handle in a ``ClusterView``.
    """

    def __init__(self, name: str, settings: Settings, transport: Callable[[Any], Transport]) -> None:
        super().__init__(name)
        self._settings = settings
        self._transport = transport
        hooks = settings.hooks
        # Applied before any worker is asked; only the first gateway counts calls by number.
        self._rules = CallerRules(hooks.allow, hooks.deny, hooks.calls_per_caller_per_hour)
        self._address = PublicAddress()
        self._view = ClusterView({}, {}, None, ports="")  # replaced as a whole by the manager
        self._stack = AsyncExitStack()  # servers opened with the first view
        self._sockets: dict[str, socket] = {}  # the listening ones, by name
        self._servers: list[Listening] = []  # one for each socket
        self._offering: asyncio.Task[None] | None = None  # passes the sockets to the next command
        self._leaves = False  # when True, finishes open requests and accepts no connections
        self._peers = dict[str, RefusalCounts]()  # the other gateways' refusals, by name; polled
        self._looking: asyncio.Task[None] | None = None  # polls the workers
        self._opening = asyncio.Lock()  # only the first view opens the servers
        self.state = gateway_state(settings, self._address, name)
        self.router = CallRouter(self.state, self._check_caller)
        self.stream_auth = StreamAuth.for_account(settings.twilio.auth_token, self._address)
        self.dashboard_auth = DashboardAuth(settings.web, self.is_public)

    @property
    def closing(self) -> str | None:
        """Why no calls are taken, or None while they are."""
        return self._view.closing

    async def update_view(self, view: ClusterView) -> None:
        """Apply a new view. The first view opens the servers.

        Raises:
            NotOffered: when the command that owns the port is gone.
        """
        self._view, self._address.base = view, view.gateway_url
        workers = {  # recreated: after an update a new process may have an old one's name
            name: WorkerClient(name, self._transport(handle)) for name, handle in view.workers.items()
        }
        self.router.set_workers(workers, view.gateway_url)
        self.router.closing = view.closing is not None
        self.router.peers = [
            RpcClient(name, self._transport(handle))
            for name, handle in view.gateways.items()
            if name != self.name
        ]
        async with self._opening:  # two may run at once, if the first timed out at the manager
            if self._looking is None:
                await self._open()

    async def refusals(self) -> RefusalCounts:
        """Return this gateway's refusals."""
        return self.router.refusals.counts

    async def remembered(self, signature: str) -> str | None:
        """Return the answer that this gateway has given to a request, by its signature."""
        return self.router.remembered.own(signature)

    async def asked(self, call_sids: Sequence[str]) -> list[str]:
        """Return those of the calls whose next step Twilio has recently requested from this gateway."""
        return self.router.lost.asked(call_sids)

    async def note_transfer(self, call: IncomingCall, how: str) -> bool:
        """Enter and report the result of a transfer; return whether the call's row is here."""
        return note_transfer(call, how, self.state)

    async def take_message(self, call: IncomingCall) -> bool:
        """Store the message that a caller has left, if the call's row is here; return whether it is."""
        return take_message(call, self.state, is_known=True)

    async def page(self, method: str, arguments: tuple[Any, ...]) -> tuple[int, Any]:
        """Answer another gateway's request for the Calls page."""
        return await answer_page(HistorySource(self.state), method, arguments)

    async def check_caller(self, from_: str, call_sid: str) -> Refusal | None:
        """Return the reason to refuse a caller, or None to accept; counts the call."""
        return self._rules.refusal(from_, call_sid, asyncio.get_running_loop().time())

    async def close(self) -> bool:
        """Stop accepting connections; return whether all open ones have ended."""
        if not self._leaves:
            self._leaves = True
            for server in self._servers:
                server.accept_no_more()
        return not any(server.connections for server in self._servers)

    async def offer(self) -> str | None:
        """Offer the sockets to a successor command; return the path of the offer, or None."""
        if self._leaves or not self._servers:
            return None
        # The offer outlives this request: the other command connects only after it has the path.
        path = asyncio.get_running_loop().create_future()

        async def offer() -> None:
            taken = asyncio.Event()
            async with offering(self._sockets, taken) as where:
                path.set_result(where)
                # Without a taker the sockets simply stay with this gateway.
                with suppress(TimeoutError):
                    await asyncio.wait_for(taken.wait(), OFFER_SECS)

        self._offering = asyncio.create_task(offer())
        return str(await path)

    async def stop(self) -> None:
        """Stop at once, without finishing open requests."""
        if self._offering is not None:
            self._offering.cancel()
        if self._looking is not None:
            self._looking.cancel()
        await self._stack.aclose()

    async def _open(self) -> None:
        await self.router.refresh()
        if self.state.outbox is not None:
            folder = self.state.settings.hooks.on_end_folder
            await in_daemon_thread(partial(adopt_reports, folder, set(self._view.gateways)), "adopting")
        await self._stack.enter_async_context(self.state.storing())
        self._sockets = sockets = await offered(self._view.ports)
        calls = ClusterCalls(self.router, lambda: self._view.closing, self.all_refusals)
        page = ClusterHistory(
            HistorySource(self.state),
            lambda: (*self.router.workers.values(), *self.router.peers),
            lambda: self.closing is not None and calls.is_over(),
        )
        app = create_gateway_app(
            calls, page, self.router, self.stream_auth, self.dashboard_auth, is_public=self.is_public
        )
        apps: dict[str, ASGIApp] = {PORT: app, ADMIN_PORT: create_admin_app(calls, self._settings.web)}
        for name, listener in sockets.items():
            config = uvicorn_config(LastAnswers(apps[name], lambda: self._leaves))
            self._servers.append(await self._stack.enter_async_context(listening(config, listener)))
        self._looking = asyncio.create_task(self._keep_looking())
        server = self._settings.server
        logger.info("Gateway {} answers at {}:{}", self.name, server.host, server.port)

    async def _check_caller(self, call: IncomingCall) -> Refusal | None:
        """Ask the first gateway: calls by number must be counted in one place."""
        for name, handle in self._view.gateways.items():
            # This gateway is the first that answers, or calls are not counted: decide here.
            if name == self.name or not self._settings.hooks.calls_per_caller_per_hour:
                break
            asker = RpcClient(name, self._transport(handle))
            try:
                refusal: Refusal | None = await asker.ask(
                    "check_caller", call.from_, call.call_sid, within_secs=ASK_SECS
                )
            except RpcError as error:
                logger.warning("Counting calls of one number: {}", error)
            else:
                return refusal
        return await self.check_caller(call.from_, call.call_sid)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(0 if self.router.lost.in_doubt else LOOK_SECS)
            await asyncio.gather(self.router.refresh(), self._ask_peers())
            self.router.lost.redirect(self.router.peers, is_first=self._is_first)

    async def _ask_peers(self) -> None:
        """Poll the other gateways' refusals: any gateway can be scraped, and reports for all."""

        async def ask(name: str, handle: Any) -> tuple[str, RefusalCounts] | None:
            asker = RpcClient(name, self._transport(handle))
            try:
                return name, await asker.ask("refusals", within_secs=ASK_SECS)
            except RpcError:
                return None

        others = [(name, handle) for name, handle in self._view.gateways.items() if name != self.name]
        answers = await asyncio.gather(*(ask(name, handle) for name, handle in others))
        self._peers = dict(answer for answer in answers if answer is not None)

    @property
    def _is_first(self) -> bool:
        """Whether no gateway before this one answers: one of them acts for all."""
        names = list(self._view.gateways)
        before = names[: names.index(self.name)] if self.name in names else names
        return not any(name in self._peers for name in before)

    def all_refusals(self) -> dict[str, RefusalCounts]:
        """Return each gateway's refusals, by its name; those of others are up to a second old."""
        return {self.name: self.router.refusals.counts, **self._peers}

    def is_public(self) -> bool:
        """Return whether other machines can reach the gateway."""
        return self._address.base is not None or not is_loopback(self._settings.server.host)
