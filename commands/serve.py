"""``python bot.py serve``: answer calls."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import click
import uvicorn
import uvloop
from loguru import logger

from commands.errors import Unusable, explained
from commands.line_options import LineOptions
from commands.logs import log_to_stderr
from commands.options import takes
from engines.choose import choose_engine
from engines.options import EngineOptions
from processors.tap_options import TapOptions
from telephony.address import HEALTH_PATH, TWIML_PATH, PublicAddress
from telephony.door import Door
from telephony.listening import listening
from telephony.number import NumberPointer
from telephony.numbers import parse_number
from telephony.options import ReachOptions, ServerOptions, TwilioOptions
from telephony.rest_errors import TwilioTrouble
from telephony.server import Line, create_app
from telephony.stopping import Stopped, StopSignals, drain, stop_signals
from telephony.tunnel import Tunnel, reaches
from telephony.web_options import WebOptions
from telephony.webhooks import OnStatus

PUT_BACK_SECS = 10.0


@click.command()
@click.option(
    "--number",
    envvar="TWILIO_NUMBER",
    show_envvar=True,
    help="A phone number of yours at Twilio, which rings here while this runs, and is put back afterwards.",
)
@takes(TwilioOptions)
@takes(ReachOptions)
@takes(EngineOptions)
@takes(ServerOptions)
@takes(WebOptions)
@takes(TapOptions)
def serve(
    *,
    number: str | None,
    twilio_options: TwilioOptions,
    reach_options: ReachOptions,
    engine_options: EngineOptions,
    server_options: ServerOptions,
    web_options: WebOptions,
    tap_options: TapOptions,
) -> None:
    """Answer calls at ws://HOST:PORT/stream."""
    log_to_stderr(server_options.log_level, [twilio_options.auth_token, web_options.web_password])
    options = LineOptions(
        server_options, engine_options, twilio_options, reach_options, taps=tap_options, web=web_options
    )
    with explained():
        options.check()
        uvloop.run(_serve(options, number))


async def _serve(options: LineOptions, number: str | None) -> None:
    pointer = _pointer(options, number)
    listener = listen(options.server.host, options.server.port)
    with stop_signals() as stop, suppress(Stopped):
        try:
            async with answering(listener, stop, options, pointer) as line:
                twiml_url = line.door.address.https(TWIML_PATH)
                if twiml_url and pointer is None:
                    logger.info("A number rings here when its voice URL is {}; --number sets it.", twiml_url)
                await stop.asked.wait()
                # The number goes back at once: who calls from now on reaches whoever was there before.
                await asyncio.gather(
                    _put_back(pointer, stop), drain(line.calls, stop, options.server.drain_secs, logger.info)
                )
        finally:
            await _put_back(pointer, stop)


@asynccontextmanager
async def answering(
    listener: socket.socket,
    stop: StopSignals,
    options: LineOptions,
    pointer: NumberPointer | None = None,
    on_status: OnStatus | None = None,
) -> AsyncIterator[Line]:
    """Answer calls while the block runs: the server and the engine, then what leads callers to them.

    Raises:
        Stopped: when the process was asked to end before everything was ready.
        EngineUnavailable, TunnelFailed, TwilioTrouble: with one sentence that names the remedy.
    """
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        from bot import run_call  # noqa: PLC0415 - bot.py starts the commands

        engine, why = choose_engine(options.engine)
        logger.info(why)
        address = options.address()
        door = Door.guarded_by(options.twilio.auth_token, address, insecure=options.reach.insecure)
        line = Line(
            engine, options.server, options.credentials(), door=door, taps=options.taps, web=options.web
        )
        if options.reach.insecure and not options.twilio.auth_token:
            logger.warning("--insecure: without TWILIO_AUTH_TOKEN anybody who finds this line may use it.")
        stack.push_async_callback(engine.stop)
        config = uvicorn_config(create_app(line, run_call, on_status))
        await stack.enter_async_context(listening(config, listener))  # /healthz answers 503 meanwhile
        await stop.unless_asked(engine.start(logger.info))
        # What is loaded now stays: without this the garbage collector looks at all of it in mid-call.
        gc.collect()
        gc.freeze()
        host, port = listener.getsockname()[:2]
        logger.info("Answering calls at ws://{}:{}/stream", host, port)
        if address.base:
            await stop.unless_asked(_reached_at(address, address.base, pointer, wait_secs=0))
        elif options.reach.tunnel:
            wait_secs = options.reach.tunnel_wait_secs
            tunnel = Tunnel(port, lambda url: _reached_at(address, url, pointer, wait_secs))
            stack.push_async_callback(tunnel.stop)
            logger.info("Opening a tunnel")
            await stop.unless_asked(tunnel.start())
        yield line


def _pointer(options: LineOptions, number: str | None) -> NumberPointer | None:
    if not number or not options.is_public:
        return None  # TWILIO_NUMBER may be set for other commands; without a URL there is nothing to point at
    return NumberPointer(options.rest_api("--number"), parse_number(number), logger.info)


async def _reached_at(
    address: PublicAddress, url: str, pointer: NumberPointer | None, wait_secs: float
) -> None:
    """Take note of our public URL, the first or a new one, and make the number ring there.

    Raises:
        TwilioTrouble: when that cannot be done, and calls are running on no earlier URL.
    """
    is_another = address.base not in (None, url)
    address.base = url
    logger.info("Reached at {}", url)
    if wait_secs and not await reaches(url + HEALTH_PATH, within_secs=wait_secs):
        logger.warning(
            "{} does not answer from this machine yet; if calls fail, wait a minute or try another network",
            url,
        )
    if pointer is None:
        return
    try:
        await pointer.point(url + TWIML_PATH)
    except TwilioTrouble as trouble:
        if not is_another:
            raise
        logger.error("{}", trouble)


async def _put_back(pointer: NumberPointer | None, stop: StopSignals) -> None:
    if pointer is None:
        return
    putting = asyncio.ensure_future(pointer.put_back())
    insisted = asyncio.ensure_future(stop.insisted.wait())
    await asyncio.wait((putting, insisted), timeout=PUT_BACK_SECS, return_when=asyncio.FIRST_COMPLETED)
    insisted.cancel()
    if not putting.done():
        putting.cancel()
        logger.warning("The number was not put back in time; see above where it went before")
    elif trouble := putting.exception():
        logger.error("{}", trouble)


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything slow is loaded.

    Raises:
        Unusable: when it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Unusable(f"Port {port} is taken; choose another with --port.") from error
        raise Unusable(
            f"Cannot listen on {host}:{port} ({error.strerror}); choose another --host."
        ) from error
    return listener


def uvicorn_config(app: object) -> uvicorn.Config:
    """Set uvicorn for a phone line: small messages, and no compression, which Twilio never asks for."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="warning",
        access_log=False,
        ws_per_message_deflate=False,
        ws_max_size=1 << 20,
    )
