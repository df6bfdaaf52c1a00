"""``uv run bot.py serve``: answer calls."""

from __future__ import annotations

import asyncio
import operator
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import click
from loguru import logger

from moshi_phone.access.public_address import TWIML_PATH
from moshi_phone.access.redact import redact
from moshi_phone.commands.errors import explained
from moshi_phone.commands.logs import log_to_stderr
from moshi_phone.commands.options import command, options_from
from moshi_phone.commands.pointing import number_option, pointer_for, restore
from moshi_phone.runtime import event_loop
from moshi_phone.runtime.last_resort import last_resort
from moshi_phone.runtime.stop_signals import Stopped, stop_signals
from moshi_phone.server.calls.draining import drain
from moshi_phone.server.calls.next_step import may_resume
from moshi_phone.server.calls.state import RunCall, ServerState
from moshi_phone.server.lifecycle import listen, running_server
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.number_routing import put_back_left_numbers

AFTER_DRAIN_SECS, FORCED_SECS = 60.0, 20.0  # more than the sum of all time limits of a shutdown
_HERE = ("127.0.0.1", "0.0.0.0", "::1", "::")  # noqa: S104 - all of them take what comes to localhost


@command()
@click.pass_obj
@number_option
@options_from(Settings)
def serve(load_run_call: Callable[[], RunCall], /, *, number: tuple[str, ...], settings: Settings) -> None:
    """Answer calls at ws://HOST:PORT/stream."""
    log_to_stderr(settings.server.log_level, settings.secrets, settings.server.log_format)
    with explained():
        settings.check()
        is_back = event_loop.run(_serve(settings, load_run_call(), number), exit_code=operator.not_)
    if not is_back:
        sys.exit(1)


async def _serve(options: Settings, run_call: RunCall, numbers: Sequence[str]) -> bool:
    """Answer calls until a stop is requested; return whether the numbers' previous routing is restored."""
    pointer = pointer_for(options, numbers)
    listener = listen(options.server.host, options.server.port)

    def end_at_last(requests: int) -> None:
        """End the process even if the event loop hangs and handles no signal."""
        last_resort.arm(FORCED_SECS if requests > 1 else options.server.drain_secs + AFTER_DRAIN_SECS, 1)

    with stop_signals(end_at_last) as stop, suppress(Stopped):
        try:
            async with running_server(listener, stop, options, run_call, pointer=pointer) as state:
                _say_where(options, state, listener.getsockname()[1], numbers, is_pointed=pointer is not None)
                if api := options.rest_api_if_set():
                    await stop.unless_stopped(put_back_left_numbers(api, logger.info))
                await stop.stop_requested.wait()
                # The number's previous routing is restored first: new callers reach its former destination.
                await asyncio.gather(
                    restore(pointer, stop),
                    drain(
                        state.calls,
                        stop,
                        options.server.drain_secs,
                        logger.info,
                        # A tunnel's URL ends with this process: nothing else can answer there.
                        lambda call: not options.reach.tunnel and may_resume(call, state),
                    ),
                )
        finally:
            await restore(pointer, stop)  # after an aborted start; a second call does nothing
    return pointer is None or not pointer.rings_here


def _say_where(
    options: Settings, state: ServerState, port: int, numbers: Sequence[str], *, is_pointed: bool
) -> None:
    """Print how to call, and what is missing if the number is not routed to this server."""
    if options.web.web or not state.is_public():
        host = options.server.host
        logger.info("Talk to it: http://{}:{}", "localhost" if host in _HERE else host, port)
    twiml_url = state.auth.address.https(TWIML_PATH)
    if twiml_url and not is_pointed:
        logger.info("A number rings here when its voice URL is {}; --number sets it.", twiml_url)
    elif numbers and not is_pointed:
        names = ", ".join(redact(number) for number in numbers)
        logger.info("{} does not ring here: start with --tunnel, or set PUBLIC_URL.", names)
