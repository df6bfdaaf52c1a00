"""``uv run bot.py serve``: answer calls."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import click
import cloup
from loguru import logger

from access.options import WebOptions
from access.public_address import TWIML_PATH
from commands.errors import explained
from commands.logs import log_to_stderr
from commands.options import GROUPS, command, takes
from engines.options import EngineOptions
from records.options import TapOptions
from runtime import event_loop
from runtime.stop_signals import Stopped, StopSignals, stop_signals
from server.draining import drain
from server.options import ServerOptions
from server.running import answering, listen
from server.settings import Settings
from server.state import RunCall
from telephony.e164 import parse_number
from telephony.number_routing import NumberPointer
from telephony.options import ReachOptions, TwilioOptions

PUT_BACK_SECS = 10.0


@command("Answer calls (the default).")
@click.pass_obj
@cloup.option(
    "--number",
    group=GROUPS["phone"],
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
    run_call: RunCall,
    /,
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
    secrets = [twilio_options.auth_token, web_options.web_password, engine_options.remote.server_token]
    log_to_stderr(server_options.log_level, secrets)
    options = Settings(
        server_options, engine_options, twilio_options, reach_options, taps=tap_options, web=web_options
    )
    with explained():
        options.check()
        event_loop.run(_serve(options, run_call, number))


async def _serve(options: Settings, run_call: RunCall, number: str | None) -> None:
    pointer = _pointer(options, number)
    listener = listen(options.server.host, options.server.port)
    with stop_signals() as stop, suppress(Stopped):
        try:
            async with answering(listener, stop, options, run_call, pointer=pointer) as state:
                twiml_url = state.auth.address.https(TWIML_PATH)
                if twiml_url and pointer is None:
                    logger.info("A number rings here when its voice URL is {}; --number sets it.", twiml_url)
                await stop.stop_requested.wait()
                # The number goes back at once: who calls from now on reaches whoever was there before.
                await asyncio.gather(
                    _put_back(pointer, stop), drain(state.calls, stop, options.server.drain_secs, logger.info)
                )
        finally:
            await _put_back(pointer, stop)


def _pointer(options: Settings, number: str | None) -> NumberPointer | None:
    if not number or not options.is_public:
        return None  # TWILIO_NUMBER may be set for other commands; without a URL there is nothing to point at
    return NumberPointer(options.rest_api("--number"), parse_number(number), logger.info)


async def _put_back(pointer: NumberPointer | None, stop: StopSignals) -> None:
    if pointer is None:
        return
    putting = asyncio.ensure_future(pointer.put_back())
    force_requested = asyncio.ensure_future(stop.force_requested.wait())
    await asyncio.wait((putting, force_requested), timeout=PUT_BACK_SECS, return_when=asyncio.FIRST_COMPLETED)
    force_requested.cancel()
    if not putting.done():
        putting.cancel()
        logger.warning("The number was not put back in time; see above where it went before")
    elif error := putting.exception():
        logger.error("{}", error)
