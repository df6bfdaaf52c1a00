"""``uv run --extra ray bot.py cluster``: answer calls with several servers, on one machine or many."""

from __future__ import annotations

import asyncio
import operator
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from socket import SOCK_STREAM, getaddrinfo, socket
from typing import Any, Literal

import click
import cloup
from loguru import logger

from moshi_phone.cluster.control import ask_cluster
from moshi_phone.cluster.gateway import ADMIN_PORT, PORT
from moshi_phone.cluster.lifecycle import cluster_running
from moshi_phone.cluster.manager import Manager
from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.cluster.ray_account import Left, RayAccount, sockets_of_gateways
from moshi_phone.cluster.ray_runtime import RayRuntime, ray_running
from moshi_phone.cluster.runtime import digest
from moshi_phone.cluster.worker_url import check_worker_url
from moshi_phone.commands.errors import explained
from moshi_phone.commands.logs import log_to_stderr
from moshi_phone.commands.options import command, options_from, own_groups
from moshi_phone.commands.pointing import number_option, pointer_for, restore
from moshi_phone.runtime import event_loop
from moshi_phone.runtime.stop_signals import Stopped, stop_signals
from moshi_phone.server.calls.state import RunCall
from moshi_phone.server.lifecycle import listen
from moshi_phone.server.settings import Settings, SettingsError
from moshi_phone.telephony.number_routing import put_back_left_numbers
from moshi_phone.telephony.options import TwilioOptions


@own_groups
@cloup.command("update")
@options_from(TwilioOptions, only=("auth_token",))
@options_from(ClusterOptions, only=("control_port",))
def update(twilio_options: TwilioOptions, cluster_options: ClusterOptions) -> None:
    """Replace all workers by new ones, which run the code now on disk. No call is interrupted."""
    _tell(twilio_options, cluster_options, "POST", "/update")


@own_groups
@cloup.command("scale")
@click.argument("workers", type=click.IntRange(1, 1000))
@options_from(TwilioOptions, only=("auth_token",))
@options_from(ClusterOptions, only=("control_port",))
def scale(workers: int, twilio_options: TwilioOptions, cluster_options: ClusterOptions) -> None:
    """Set the number of workers. Surplus ones end after their last calls."""
    _tell(twilio_options, cluster_options, "POST", f"/scale/{workers}")


@own_groups
@cloup.command("status")
@options_from(TwilioOptions, only=("auth_token",))
@options_from(ClusterOptions, only=("control_port",))
def status(twilio_options: TwilioOptions, cluster_options: ClusterOptions) -> None:
    """Show the state of all workers."""
    _tell(twilio_options, cluster_options, "GET", "")


@command(
    cls=cloup.Group,
    invoke_without_command=True,
    commands=(update, scale, status),
)
@click.pass_context
@number_option
@options_from(ClusterOptions)
@options_from(Settings, without=("insecure", "stream_url"))
def cluster(
    context: click.Context,
    /,
    *,
    number: tuple[str, ...],
    cluster_options: ClusterOptions,
    settings: Settings,
) -> None:
    """Answer calls with several servers, on this machine or on a Ray cluster (docs/cluster.md).

    Twilio's webhooks arrive at --port; the response sends each call to a server with a free session.
    """
    if context.invoked_subcommand is not None:
        return
    start_log = partial(
        log_to_stderr, settings.server.log_level, settings.secrets, settings.server.log_format
    )
    start_log()
    with explained():
        _check(settings, cluster_options)
        address, token = cluster_options.ray_address, _auth_token(settings.twilio)
        with ExitStack() as held:
            account, left = None, list[Left]()
            if address:  # first: processes of an earlier command may hold our ports
                held.enter_context(ray_running(address))
                account = held.enter_context(RayAccount(digest(token), address))
                left = account.left()
            sockets_left = event_loop.run(sockets_of_gateways(left)) if left else {}
            settings, sockets = _hold_ports(settings, sockets_left, held)
            if not address:
                held.enter_context(ray_running(None))
            runtime = RayRuntime(settings, cluster_options, _path_of(context.obj()), start_log)
            manager = Manager(runtime, settings, cluster_options)
            manager.adopt([runtime.survivor(name, handle) for name, handle in left])
            if account:
                held.enter_context(account.leaving_nothing())
            is_back = event_loop.run(
                _run(manager, settings, cluster_options, sockets, number),
                exit_code=operator.not_,
            )
    if not is_back:
        sys.exit(1)


def _tell(twilio: TwilioOptions, options: ClusterOptions, method: Literal["GET", "POST"], path: str) -> None:
    with explained():
        token = _auth_token(twilio)
        state = asyncio.run(ask_cluster(options.control_port, token, method, path))
    print(f"{state['wanted']} workers requested, {'all ready' if state['ready'] else 'not all ready yet'}.")
    for worker in state["workers"]:
        print(_line(worker))


def _line(worker: dict[str, Any]) -> str:
    if worker["failure"]:
        return f"{worker['name']}  {worker['failure']}"
    taken = "" if worker["capacity"] is None else f"{worker['sessions']} of {worker['capacity']} taken"
    return f"{worker['name']}  {worker['state']:<9} {taken}  {worker['url'] or ''}".rstrip()


async def _run(
    manager: Manager,
    settings: Settings,
    options: ClusterOptions,
    sockets: Mapping[str, socket],
    numbers: tuple[str, ...],
) -> bool:
    """Answer calls until a stop is requested; return whether the number's previous routing is restored."""
    pointer = pointer_for(settings, numbers)
    with stop_signals() as stop, suppress(Stopped):
        try:
            async with cluster_running(
                manager, settings, stop, sockets, control_port=options.control_port, pointer=pointer
            ):
                if api := settings.rest_api_if_set():
                    await stop.unless_stopped(put_back_left_numbers(api, logger.info))
                await stop.stop_requested.wait()
                await restore(pointer, stop)
        finally:
            await restore(pointer, stop)
    return pointer is None or not pointer.rings_here


def _check(settings: Settings, options: ClusterOptions) -> None:
    _auth_token(settings.twilio)
    settings.check()
    if options.worker_url:
        if settings.reach.tunnel:
            raise SettingsError("--tunnel creates a URL for each worker; leave out --tunnel or --worker-url.")
        check_worker_url(options.worker_url)
    if bool(options.worker_url) != bool(settings.reach.public_url):
        raise SettingsError(
            "--public-url (PUBLIC_URL), for webhooks, and --worker-url, for calls, require each other."
        )
    if options.min_workers > options.max_workers:
        raise SettingsError(
            f"--min-workers {options.min_workers} is more than --max-workers {options.max_workers}."
        )


def _auth_token(twilio: TwilioOptions) -> str:
    if not twilio.auth_token:
        raise SettingsError(
            "cluster needs TWILIO_AUTH_TOKEN: it authenticates Twilio and the cluster's own requests."
        )
    return twilio.auth_token


def _hold_ports(
    settings: Settings, left: Mapping[str, socket], held: ExitStack
) -> tuple[Settings, dict[str, socket]]:
    """Bind the gateways' ports until ``held`` is closed; return them as numbers and as sockets.

    Args:
        settings: name the ports.
        left: sockets of gateways that still run, by name; pending connections are kept.
        held: closes all of them.
    """

    def hold(name: str, host: str, port: int, kind: str = "") -> int:
        old = left.get(name)
        is_ours = old is not None and any(
            old.getsockname()[:2] == address[:2] for *_, address in getaddrinfo(host, port, type=SOCK_STREAM)
        )
        sockets[name] = held.enter_context(old if old and is_ours else listen(host, port, kind))
        number: int = sockets[name].getsockname()[1]
        return number

    for one in left.values():
        held.enter_context(one)
    sockets = dict[str, socket]()
    server, web = settings.server, settings.web
    server = replace(server, port=hold(PORT, server.host, server.port))
    if web.admin_port is not None:
        web = replace(web, admin_port=hold(ADMIN_PORT, web.admin_host, web.admin_port, "admin-"))
    return replace(settings, server=server, web=web), sockets


def _path_of(run_call: RunCall) -> str:
    """Return a function's import path, for other processes."""
    return f"{run_call.__module__}:{run_call.__name__}"
