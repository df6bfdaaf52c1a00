"""Runs the server and the engine, then routes callers to them."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial

from loguru import logger

from moshi_phone.access.public_address import HEALTH_PATH, TWIML_PATH, PublicAddress
from moshi_phone.access.tokens import StreamTokens
from moshi_phone.engines.choose import EngineChoice, create_engine
from moshi_phone.engines.personas import check_sections
from moshi_phone.engines.stop_engine import stop_engine
from moshi_phone.runtime.errors import UserError
from moshi_phone.runtime.stop_signals import StopSignals
from moshi_phone.runtime.tunnel import Tunnel, find_program, reaches
from moshi_phone.server.calls.closed import check_hours
from moshi_phone.server.calls.consent import what_is_kept
from moshi_phone.server.calls.next_step import bring_along
from moshi_phone.server.calls.state import RunCall, ServerState
from moshi_phone.server.net.http_server import listening, uvicorn_config
from moshi_phone.server.settings import Settings, SettingsError
from moshi_phone.server.unused_options import unused_options
from moshi_phone.server.web.admin import create_admin_app
from moshi_phone.server.web.app import create_app
from moshi_phone.server.web.local_calls import LocalCalls
from moshi_phone.telephony.api_retry import ApiRetry
from moshi_phone.telephony.number_group import NumberGroup
from moshi_phone.telephony.rest import TRIAL, TRIAL_LIMITS, TRIAL_REMEDY
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.webhooks import OnStatus

_CHECK_SECS = 3  # attempts, one second apart, at a public URL that should answer at once
OURS = '"engine"'  # a key of our /healthz


@asynccontextmanager
async def running_server(
    listener: socket.socket,
    stop: StopSignals,
    options: Settings,
    run_call: RunCall,
    *,
    pointer: NumberGroup | None = None,
    on_status: OnStatus | None = None,
    tokens: StreamTokens | None = None,
    webhook_base_url: PublicAddress | None = None,
) -> AsyncIterator[ServerState]:
    """Answer calls while the block runs: start the server and the engine, then route callers to them.

    Args:
        listener: bound, not listening yet; closed at the end.
        stop: aborts the start.
        options: all settings.
        run_call: runs one call.
        pointer: routes a number to this server.
        on_status: called with the call's SID and each status that Twilio reports.
        tokens: mints and verifies stream tokens; by default, keyed by the auth token.
        webhook_base_url: base of Twilio's webhooks, if not this server.

    Raises:
        Stopped: if the process was asked to stop before everything was ready.
        EngineUnavailable, TunnelFailed, TwilioError: one sentence that names the remedy.
    """
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        choice = create_engine(options.engine)
        _log_choices(choice, options)
        state = ServerState.create(options, choice, tokens=tokens, webhook_base_url=webhook_base_url)
        state.line_number = pointer.number if pointer is not None else None
        await stack.enter_async_context(state.background())
        if options.web.admin_port is not None:
            await stack.enter_async_context(_admin_server(state, options.web.admin_port))
        # Before the server: the stack unwinds in reverse, so no request can reach a stopped engine.
        stack.push_async_callback(stop_engine, choice.engine)
        config = uvicorn_config(create_app(state, run_call, on_status))
        await stack.enter_async_context(listening(config, listener))  # /healthz answers 503 meanwhile
        stack.push(partial(_note_failure, state))
        check = ApiRetry("check the Twilio account")
        stack.push_async_callback(check.stop)
        await stop.unless_stopped(_check_reach(options, state, pointer, check))
        await stop.unless_stopped(state.startup.run(choice.engine, logger.info))
        _check_loaded_engine(choice, options)
        # Exempt the loaded objects from garbage collection, which would scan all of them during calls.
        gc.collect()
        gc.freeze()
        host, port = listener.getsockname()[:2]
        logger.info("Answering calls at ws://{}:{}/stream", host, port)
        if kept := what_is_kept(options.taps):
            logger.info("{}", kept)
        await _connect_callers(stack, state, stop, pointer, port, is_worker=webhook_base_url is not None)
        yield state


def _log_choices(choice: EngineChoice, options: Settings) -> None:
    """Log which engine was chosen, and options that have no effect or are unsafe."""
    logger.log("WARNING" if choice.left_out else "INFO", "{}", choice.line)
    for sentence in unused_options(options):
        logger.warning("{}", sentence)
    if options.reach.insecure and not options.twilio.auth_token:
        logger.warning("--insecure: without TWILIO_AUTH_TOKEN, anyone who finds this server can use it.")


async def _connect_callers(
    stack: AsyncExitStack,
    state: ServerState,
    stop: StopSignals,
    pointer: NumberGroup | None,
    port: int,
    *,
    is_worker: bool,
) -> None:
    """Publish the user's own URL, or open a tunnel, which the stack closes."""
    # A worker's public URL is its own, not the gateway's.
    address = state.auth.address if is_worker else state.webhooks
    reach = state.settings.reach
    if address.base:
        await stop.unless_stopped(_reached_at(state, address, address.base, pointer, wait_secs=0))
        if not is_worker:
            checking = asyncio.create_task(_check_public_url(address.base))
            stack.callback(checking.cancel)
    elif reach.tunnel:
        tunnel = Tunnel(port, lambda url: _reached_at(state, address, url, pointer, reach.tunnel_wait_secs))
        stack.push_async_callback(tunnel.stop)
        logger.info("Opening a tunnel")
        await stop.unless_stopped(tunnel.start())


@asynccontextmanager
async def _admin_server(state: ServerState, port: int) -> AsyncIterator[None]:
    """Serve ``--admin-port`` while the block runs."""
    options = state.settings.web
    with closing(listen(options.admin_host, port, "admin-")) as admin:
        async with listening(uvicorn_config(create_admin_app(LocalCalls(state), options)), admin):
            logger.info("Monitoring at http://{}:{}/metrics", *admin.getsockname()[:2])
            yield


def _check_loaded_engine(choice: EngineChoice, options: Settings) -> None:
    """Check the options against what the engine supports, which some engines know only when loaded.

    Raises:
        UserError: if a persona of ``--personas`` asks for what the engine lacks.
    """
    engine = choice.engine
    if options.calls.transfer_notice and "say" not in engine.capabilities:
        logger.warning("The engine {} cannot say given words; --transfer-notice is ignored.", engine.name)
    if engine.supported_overrides:
        check_sections(choice.personas, engine)
    elif choice.personas.sections:
        logger.warning("The engine {} takes no personas; --personas is ignored.", engine.name)
    check_hours(choice.personas, options)


def _note_failure(state: ServerState, _: object, error: BaseException | None, __: object) -> None:
    """Pass the error to open pages before the server stops."""
    if isinstance(error, UserError):
        state.startup.fail(str(error))


async def _check_reach(
    options: Settings, state: ServerState, pointer: NumberGroup | None, check: ApiRetry
) -> None:
    """Check the tunnel program and the Twilio account before the engine is loaded, which may take an hour.

    An unreachable Twilio API does not stop the start: webhooks arrive even so.

    Raises:
        TunnelFailed, TwilioError: one sentence that names the remedy.
    """
    if options.reach.tunnel:
        find_program()  # raises if it is not installed

    async def ask() -> None:
        if pointer is not None:
            await pointer.find()
        if state.rest is not None and await state.rest.check_account() == TRIAL:
            logger.warning("This is {}: {}", TRIAL_LIMITS, TRIAL_REMEDY)

    if pointer is not None or (options.is_public and state.rest is not None):
        await check.run(ask)


async def _reached_at(
    state: ServerState,
    address: PublicAddress,
    url: str,
    pointer: NumberGroup | None,
    wait_secs: float,
) -> None:
    is_another = address.base not in (None, url)
    address.base = url
    if is_another:  # first: Twilio waits 15 s for a dead URL
        await bring_along(state)
    await publish_url(url, pointer, wait_secs=wait_secs, is_another=is_another)


async def _check_public_url(url: str) -> None:
    """Warn if the user's own public URL does not lead to this program."""
    if not await reaches(url + HEALTH_PATH, within_secs=_CHECK_SECS, wanted=OURS):
        logger.warning(
            "{} does not lead to this program, as far as this machine can tell: callers would hear an error. "
            "Does the proxy or tunnel run, and lead to this --port?",
            url + HEALTH_PATH,
        )


async def publish_url(url: str, pointer: NumberGroup | None, *, wait_secs: float, is_another: bool) -> None:
    """Log our public URL and route the number to it.

    Args:
        url: ``PublicAddress.base``.
        pointer: routes the number; None without one.
        wait_secs: how long the URL may be unreachable at first; 0 for the user's own.
        is_another: whether calls may be running at an earlier URL.

    Raises:
        TwilioError: if routing fails and there is no earlier URL.
    """
    logger.info("Reached at {}", url)
    if wait_secs and not await reaches(url + HEALTH_PATH, within_secs=wait_secs):
        logger.warning(
            "{} does not answer from this machine yet; if calls fail, wait a minute or try another network",
            url,
        )
    if pointer is None:
        return
    try:
        await pointer.keep_pointing(url + TWIML_PATH)
    except TwilioError as error:
        if not is_another:
            raise
        logger.error("{}", error)


def listen(host: str, port: int, kind: str = "") -> socket.socket:
    """Bind the port before anything slow is loaded.

    Args:
        host: address to listen on.
        port: to listen on; 0 takes a free one.
        kind: prefix of the options' names: ``admin-`` for ``--admin-port``.

    Raises:
        SettingsError: if the port is unavailable.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # After a restart, the port of the last run is in TIME_WAIT.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # only this claims the port, even against another listener of ours
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"Port {port} is taken; choose another with --{kind}port.") from error
        raise SettingsError(
            f"Cannot listen on {host}:{port} ({error.strerror}); choose another --{kind}host."
        ) from error
    return listener
