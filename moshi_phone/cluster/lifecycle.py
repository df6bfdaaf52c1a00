"""The lifecycle of a cluster, from its first worker to its last call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from socket import socket

from loguru import logger

from moshi_phone.cluster.control import ControlAuth, create_control_app
from moshi_phone.cluster.manager import LATE_SECS, Manager
from moshi_phone.runtime.fd_passing import offering
from moshi_phone.runtime.stop_signals import StopSignals
from moshi_phone.runtime.tunnel import Tunnel
from moshi_phone.server.lifecycle import listen, publish_url
from moshi_phone.server.net.http_server import listening, uvicorn_config
from moshi_phone.server.settings import Settings, SettingsError
from moshi_phone.telephony.number_group import NumberGroup

HANG_UP_SECS = 8.0  # limit for hanging up all calls at once


@asynccontextmanager
async def cluster_running(
    manager: Manager,
    settings: Settings,
    stop: StopSignals,
    sockets: Mapping[str, socket],
    *,
    control_port: int,
    pointer: NumberGroup | None = None,
) -> AsyncIterator[None]:
    """Run the cluster while the block runs. On exit its processes are gone.

    Args:
        manager: not yet started.
        settings: the cluster's settings, with the port known.
        stop: interrupts the start.
        sockets: bound sockets for the gateways to listen on, by name (``cluster/gateway.py``).
        control_port: port on 127.0.0.1 for the commands that update or scale the cluster.
        pointer: routes phone numbers to this cluster.

    Raises:
        Stopped: when the process was asked to stop before all workers were ready.
        SettingsError, TunnelFailed, TwilioError: with one sentence that gives the remedy.
    """
    auth = ControlAuth(settings.twilio.auth_token or "")
    control = listen("127.0.0.1", control_port)
    manager.gateway_url = settings.address().base
    async with AsyncExitStack() as stack:
        # If the start fails, adopted processes of an earlier command keep running.
        stack.callback(lambda: manager.kill_all(adopted=stop.stop_requested.is_set()))
        stack.callback(control.close)
        manager.ports = await stack.enter_async_context(offering(sockets))
        await stack.enter_async_context(listening(uvicorn_config(create_control_app(manager, auth)), control))
        keeping = asyncio.create_task(manager.run(), name="cluster")
        try:
            await stop.unless_stopped(_all_ready(manager, keeping))
            await _connect_callers(stack, manager, settings, stop, pointer)
            logger.info(
                "{} workers take calls; webhooks come in at {}", len(manager.workers), manager.gateway_url
            )
            yield
        finally:
            keeping.cancel()
            # An exception in the block is no request to stop: then only ``kill_all`` above runs.
            if stop.stop_requested.is_set() and (manager.was_staffed or manager.sessions):
                await _drain(manager, stop, settings.server.drain_secs)


async def _connect_callers(
    stack: AsyncExitStack,
    manager: Manager,
    settings: Settings,
    stop: StopSignals,
    pointer: NumberGroup | None,
) -> None:
    """Open the tunnel, which the stack closes, or publish the user's own URL."""
    if settings.reach.tunnel:
        wait_secs = settings.reach.tunnel_wait_secs

        async def reached_at(url: str) -> None:
            # A tunnel that reconnects may get another URL.
            is_another = manager.gateway_url not in (None, url)
            await manager.set_public_url(url)
            await publish_url(url, pointer, wait_secs=wait_secs, is_another=is_another)

        tunnel = Tunnel(settings.server.port, reached_at)
        stack.push_async_callback(tunnel.stop)
        await stop.unless_stopped(tunnel.start())
    elif manager.gateway_url:
        await stop.unless_stopped(publish_url(manager.gateway_url, pointer, wait_secs=0, is_another=False))


async def _all_ready(manager: Manager, keeping: asyncio.Task[None]) -> None:
    while not manager.has_ready_workers:
        # Raises the manager's error instead of waiting forever.
        if keeping.done():
            keeping.result()
        if manager.failure:
            raise SettingsError(manager.failure)
        await asyncio.sleep(0.1)


async def _drain(manager: Manager, stop: StopSignals, drain_secs: float) -> None:
    logger.info("No new calls are accepted; running ones may finish. A second signal hangs up at once.")
    draining = asyncio.ensure_future(manager.drain_all())
    if not await stop.wait_unless_forced(draining, within_secs=drain_secs + LATE_SECS):
        await manager.hang_up_all()
        await asyncio.wait((draining,), timeout=HANG_UP_SECS)
        draining.cancel()
