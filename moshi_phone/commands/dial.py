"""``uv run bot.py dial``: call a phone number."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import cloup

from moshi_phone.access.public_address import STATUS_PATH, STREAM_PATH
from moshi_phone.access.redact import redact
from moshi_phone.access.tokens import StreamTokens
from moshi_phone.commands.dialled_server import next_url, persona_parameter, stream_url
from moshi_phone.commands.errors import Unusable, explained
from moshi_phone.commands.logs import log_to_stderr
from moshi_phone.commands.numbers import WholeNumber, split_numbers
from moshi_phone.commands.options import GROUPS, command, options_from
from moshi_phone.engines.options import EngineOptions
from moshi_phone.records.options import TapOptions
from moshi_phone.runtime import event_loop
from moshi_phone.runtime.stop_signals import Stopped, stop_signals
from moshi_phone.server.calls.answering import STREAM_SECS
from moshi_phone.server.calls.draining import hang_up_all
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.state import RunCall, ServerState
from moshi_phone.server.calls.voicemail import NO_VOICEMAIL, Voicemail
from moshi_phone.server.lifecycle import listen, running_server
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings, SettingsError
from moshi_phone.telephony.dialling import COMPLETED, CallPlan, Dialler
from moshi_phone.telephony.e164 import parse_number
from moshi_phone.telephony.incoming_call import IncomingCall
from moshi_phone.telephony.options import ReachOptions, TwilioOptions
from moshi_phone.telephony.rest import TRIAL, TRIAL_LIMITS, TRIAL_REMEDY, PlacedCall, TwilioApi
from moshi_phone.telephony.twiml import next_path

ANSWERED = "in-progress"
STREAM_END_SECS = 2.0  # for the end of the stream, after Twilio's API has reported that of the call
_NO_STREAM = (
    "is the Twilio account a trial (uv run bot.py doctor), and does the public URL lead here, WebSockets too?"
)


@command()
@click.pass_obj
@cloup.argument("number", help="E.164, such as +15551234567.")
@cloup.option(
    "--from",
    "from_",
    group=GROUPS["phone"],
    envvar="TWILIO_NUMBER",
    show_envvar=True,
    help="Your Twilio number to call from; of several, the first.",
)
@cloup.option(
    "--url",
    group=GROUPS["phone"],
    help="wss URL of a running server with the same auth token; "
    "without it, this command answers the call itself.",
)
@cloup.option(
    "--ring-secs",
    group=GROUPS["calls"],
    type=WholeNumber(5, 600),
    default=30,
    show_default=True,
    help="Maximum ringing time.",
)
@cloup.option(
    "--call-limit-secs",
    group=GROUPS["calls"],
    type=WholeNumber(10, 86_400),
    default=3600,
    show_default=True,
    help="Maximum duration of the call.",
)
@cloup.option(
    "--voicemail",
    group=GROUPS["calls"],
    type=click.Choice(["talk", "hang-up", "message"]),
    default="talk",
    show_default=True,
    help="When an answering machine answers: talk anyway, hang up, or leave --voicemail-message. "
    "Twilio detects machines during the call, so that a person never waits; it charges for this.",
)
@cloup.option(
    "--voicemail-message",
    group=GROUPS["calls"],
    metavar="TEXT",
    help="Message for an answering machine, said after its tone.",
)
@cloup.option(
    "--report",
    group=GROUPS["keep"],
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Record the call into this directory, and write a test report at its end. Both "
    "parties must have consented.",
)
@options_from(TwilioOptions)
@options_from(ReachOptions)
@options_from(EngineOptions)
@options_from(ServerOptions)
@options_from(TapOptions)
def dial(
    load_run_call: Callable[[], RunCall],
    /,
    *,
    number: str,
    from_: str | None,
    url: str | None,
    ring_secs: int,
    call_limit_secs: int,
    voicemail: str,
    voicemail_message: str | None,
    report: Path | None,
    twilio_options: TwilioOptions,
    reach_options: ReachOptions,
    engine_options: EngineOptions,
    server_options: ServerOptions,
    tap_options: TapOptions,
) -> None:
    """Call NUMBER (E.164, such as +15551234567) and follow the call to its end.

    Ctrl-C hangs up. The exit code is 0 if the call was answered and connected, and 1 otherwise.
    """
    if report and url:
        raise Unusable("--report needs the call to be answered here; leave out --url.")
    if report:
        kept = {"record": report, "transcripts": tap_options.transcripts or report, "review": True}
        tap_options = replace(tap_options, **kept)  # type: ignore[arg-type]
    options = Settings(
        server=server_options,
        engine=engine_options,
        twilio=twilio_options,
        reach=reach_options,
        taps=tap_options,
    )
    log_to_stderr(server_options.log_level, options.secrets, server_options.log_format)
    with explained():
        to = parse_number(number)
        if not from_:
            raise Unusable("Name your Twilio number to call from, with --from or TWILIO_NUMBER.")
        api = options.rest_api("dial")
        mail = Voicemail(voicemail, voicemail_message)
        mail.check(elsewhere=url is not None)
        plan = CallPlan(
            to,
            parse_number(next(iter(split_numbers(from_)), from_), "--from (TWILIO_NUMBER)"),
            "",
            ring_secs=ring_secs,
            limit_secs=call_limit_secs,
            machine_detection=mail.detection,
        )
        if url:
            plan = replace(plan, persona=persona_parameter(engine_options), voice=engine_options.voice)
            call = event_loop.run(_dial_elsewhere(plan, stream_url(url), api, options))
        else:
            # Twilio opens the stream to us: without a public URL, this call gets a tunnel.
            call = event_loop.run(_dial_here(plan, api, options.with_public_url(), load_run_call(), mail))
    sys.exit(0 if call and call.status == COMPLETED else 1)


async def _dial_elsewhere(plan: CallPlan, url: str, api: TwilioApi, options: Settings) -> PlacedCall | None:
    with stop_signals() as stop:
        tokens = StreamTokens.from_auth_token(options.twilio.auth_token)
        if await api.check_account() == TRIAL:
            _print(f"this is {TRIAL_LIMITS}: {TRIAL_REMEDY}")
        plan = replace(plan, stream_url=url, next_url=next_url(url))
        return await _follow(plan, tokens, Dialler(api, stop, _print))


async def _dial_here(
    plan: CallPlan,
    api: TwilioApi,
    options: Settings,
    run_call: RunCall,
    mail: Voicemail = NO_VOICEMAIL,
) -> PlacedCall | None:
    options.check()
    listener = _listen(options)
    news = asyncio.Event()

    def warn_without_stream(call_sid: str) -> None:
        if state.calls.find(call_sid) is None:
            _print(f"no audio has come {STREAM_SECS:g} s after the call was answered: {_NO_STREAM}")

    def on_status(call_sid: str, status: str) -> None:
        mail.on_status(call_sid, status, state)
        news.set()
        if status == ANSWERED:
            asyncio.get_running_loop().call_later(STREAM_SECS, warn_without_stream, call_sid)

    with stop_signals() as stop, suppress(Stopped):
        async with running_server(listener, stop, options, run_call, on_status=on_status) as state:
            mail.check_engine(state.engine)
            plan = _at_this_server(_with_persona_of_number(plan, state, options.engine), state)
            try:
                dialler = Dialler(api, stop, _print, partial(_expect, plan, state), news)
                call = await _follow(plan, state.auth.tokens, dialler)
                if call.status == COMPLETED and state.calls.find(call.sid) is None:
                    _print(f"it was answered, but never connected: {_NO_STREAM}")
                    return None
                if not stop.stop_requested.is_set():
                    with suppress(TimeoutError):  # the API may report the end before the stream does
                        async with asyncio.timeout(STREAM_END_SECS):
                            await state.calls.wait_until_idle()
                return call
            finally:
                await hang_up_all(state.calls, _print)
                await state.reviews.finished()
    return None


def _at_this_server(plan: CallPlan, state: ServerState) -> CallPlan:
    """Let Twilio connect the call to this server.

    Raises:
        Unusable: without a public URL.
    """
    address = state.auth.address
    url = address.wss(STREAM_PATH)
    if url is None:
        raise Unusable("There is no public URL; set --public-url, or install cloudflared.")
    return replace(
        plan,
        stream_url=url,
        status_url=address.https(STATUS_PATH),
        next_url=address.https(next_path(0)),
    )


def _expect(plan: CallPlan, state: ServerState, call: PlacedCall) -> None:
    """Register the call, as the webhook of an incoming call does: its stream may break off and resume."""
    placed = IncomingCall(call.sid, plan.from_, plan.to, "outbound-api")
    state.expected.add(call.sid, PendingCall(placed), state.clock(), later_s=plan.ring_secs)


def _with_persona_of_number(plan: CallPlan, state: ServerState, options: EngineOptions) -> CallPlan:
    """Request the persona that ``--personas`` assigns to the numbers, and begin to prepare it.

    Raises:
        RequestRefused: when the engine does not support it.
    """
    name = state.personas.name_for_call(
        called=plan.from_, caller=plan.to
    )  # the other party's number takes precedence
    if name is None or options.persona:
        return plan
    state.engine.prepare(state.personas.sections[name])
    return replace(plan, persona=name)


def _listen(options: Settings) -> socket.socket:
    """Bind a port: any free one for a tunnel, or the one that the public URL leads to."""
    if options.reach.tunnel:
        return listen(options.server.host, 0)
    try:
        return listen(options.server.host, options.server.port)
    except SettingsError as error:
        url = options.address().wss(STREAM_PATH)
        raise Unusable(f"{error} If that is this program, let it answer: --url {url}") from error


async def _follow(plan: CallPlan, tokens: StreamTokens, dialler: Dialler) -> PlacedCall:
    _print(f"calling {redact(plan.to)} from {redact(plan.from_)}")
    return await dialler.dial(plan, plan.twiml(tokens, time.time()))


def _print(state: str) -> None:
    """Print a line at once, even into a pipe."""
    try:
        print(state, flush=True)
    except OSError:
        # The terminal was closed. The call must still be hung up; further output is discarded.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
