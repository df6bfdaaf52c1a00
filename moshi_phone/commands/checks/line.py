"""Checks of the phone line: port, tunnel, Twilio account, number and public URL."""

from __future__ import annotations

import asyncio
import platform
import secrets
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from moshi_phone.access.public_address import HEALTH_PATH, TWIML_PATH
from moshi_phone.commands.checks.check import Check
from moshi_phone.commands.dotenv_file import place_of
from moshi_phone.runtime.cloudflared import BINARY, how_to_install
from moshi_phone.runtime.tunnel import Tunnel, TunnelFailed, reaches
from moshi_phone.server.lifecycle import OURS, listen
from moshi_phone.server.settings import Settings, SettingsError
from moshi_phone.telephony.credentials import BadCredential
from moshi_phone.telephony.e164 import BadNumber, parse_number
from moshi_phone.telephony.rest import TRIAL, TRIAL_LIMITS, TRIAL_REMEDY, OwnedNumber, TwilioApi
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.saved_numbers import SavedNumbers

ANSWER_SECS = 10.0
_CONSOLE = "https://console.twilio.com"


async def check_port(options: Settings) -> Check:
    """Check that the port is free or held by our own server."""
    host, port = options.server.host, options.server.port
    try:
        listen(host, port).close()
    except SettingsError as error:
        name = f"[{host}]" if ":" in host else host
        if await _answers_with(f"http://{name}:{port}{HEALTH_PATH}", OURS) is None:
            return Check("port", "ok", f"{host}:{port} is taken, by this program, which is running")
        return Check("port", "fail", str(error))
    return Check("port", "ok", f"{host}:{port} is free")


async def check_cloudflared(options: Settings) -> Check:
    """Check that the tunnel's program is installed, if a tunnel is used."""
    path = shutil.which(BINARY)
    if path is None:
        install = how_to_install(machine=platform.machine())
        if options.reach.public_url:
            return Check("cloudflared", "note", "not installed, and not needed with a public URL")
        return Check("cloudflared", "fail", "not installed", f"{install}, or set PUBLIC_URL")
    try:
        process = await asyncio.create_subprocess_exec(
            path, "--version", stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )
    except OSError as error:
        return Check("cloudflared", "fail", f"{path} does not run ({error})", "install it again")
    try:
        output, _ = await asyncio.wait_for(process.communicate(), ANSWER_SECS)
    except TimeoutError:
        process.kill()  # otherwise it would outlive this process
        await process.wait()
        why = f"no answer in {ANSWER_SECS:g} s"
        return Check("cloudflared", "fail", f"{path} does not run ({why})", "install it again")
    return Check("cloudflared", "ok", output.decode(errors="replace").strip() or path)


async def check_credentials(options: Settings) -> tuple[Check, TwilioApi | None]:
    """Check the Twilio account; also return its API if the account is valid."""
    missing = [
        name
        for name, value in (
            ("TWILIO_ACCOUNT_SID", options.twilio.account_sid),
            ("TWILIO_AUTH_TOKEN", options.twilio.auth_token),
        )
        if not value
    ]
    if missing:
        remedy = f"set {' and '.join(missing)} in .env; they are at {_CONSOLE}"
        return Check("credentials", "fail", "not set", remedy), None
    try:
        api = options.rest_api("doctor")
    except BadCredential as error:
        return Check("credentials", "fail", f"{error}{place_of(error.variable)}"), None
    try:
        kind = await api.check_account()
    except TwilioError as error:
        return Check("credentials", "fail", str(error)), None
    if kind == TRIAL:
        return Check("credentials", "fail", TRIAL_LIMITS, TRIAL_REMEDY), api
    return Check("credentials", "ok", f"a {kind.lower()} account"), api


async def check_number(
    options: Settings, number: str | None, api: TwilioApi | None, notes: SavedNumbers | None = None
) -> Check:
    """Check that the number belongs to the account and is, or can be, routed here."""
    notes = notes or SavedNumbers()
    if not number:
        remedy = f"set TWILIO_NUMBER in .env; buy one at {_CONSOLE}"
        return Check("number", "fail", "not set", remedy)
    if api is None:
        return Check("number", "note", "cannot be checked without credentials")
    try:
        found = await api.find_number(parse_number(number, "TWILIO_NUMBER"))
    except (TwilioError, BadNumber) as error:
        return Check("number", "fail", str(error))
    if found.trunk_sid:
        return Check("number", "fail", "belongs to a SIP trunk", f"take it out of the trunk at {_CONSOLE}")
    ours = options.address().https(TWIML_PATH)
    where = found.voice.where
    if ours and found.voice.url == ours and not found.voice.application_sid:
        return Check("number", "ok", f"rings at {where}")
    return _left_number(found, notes) or Check(
        "number", "ok", f"goes to {where} now; it will ring here while this program runs"
    )


def _left_number(found: OwnedNumber, notes: SavedNumbers) -> Check | None:
    """Return the check of a number that a running or an ended process of this program has routed."""
    left = notes.read(found.sid)
    if left is None or found.voice not in left.ours:
        return None
    where = found.voice.where
    if notes.is_held(found.sid):
        return Check("number", "ok", f"rings at {where}, where this program runs (process {left.pid})")
    return Check(
        "number",
        "note",
        f"goes to {where}, where an earlier run left it; before, it went to {left.before.where}",
        "the next start takes it over, and restores it on exit",
    )


async def check_public_url(options: Settings) -> Check:
    """Check that requests to the public URL reach this machine."""
    if not options.is_public:
        return Check("public URL", "note", "none yet", "start with --tunnel, or set PUBLIC_URL")
    try:
        listener = listen(options.server.host, 0 if options.reach.tunnel else options.server.port)
    except SettingsError:
        # The port is taken; our own server would identify itself.
        return await _check_answer(options.address().https(HEALTH_PATH) or "", OURS)
    secret = secrets.token_hex(16)  # identifies our own response: the URL may lead elsewhere

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(secret)}\r\nConnection: close\r\n\r\n"
        writer.write((head + secret).encode())
        await writer.drain()
        writer.close()

    # Not our own server, which would load an engine for one request.
    async with await asyncio.start_server(answer, sock=listener):
        try:
            async with _public_base(options, listener.getsockname()[1]) as base:
                url = base + HEALTH_PATH
                if options.reach.tunnel:
                    await reaches(url, within_secs=options.reach.tunnel_wait_secs, wanted=secret)
                return await _check_answer(url, secret)
        except TunnelFailed as failure:
            return Check("public URL", "fail", str(failure))


@asynccontextmanager
async def _public_base(options: Settings, port: int) -> AsyncIterator[str]:
    base = options.address().base
    if base:
        yield base
        return
    urls: list[str] = []

    async def take(url: str) -> None:
        urls.append(url)

    tunnel = Tunnel(port, take)
    await tunnel.start()
    try:
        yield urls[0]
    finally:
        await tunnel.stop()


async def _check_answer(url: str, wanted: str) -> Check:
    error = await _answers_with(url, wanted)
    if error is None:
        return Check("public URL", "ok", f"{url} leads here")
    remedy = "is the tunnel running, and does it lead to this machine and --port?"
    return Check("public URL", "fail", f"{url} {error}", remedy)


async def _answers_with(url: str, wanted: str) -> str | None:
    """Request one of our URLs; return None if the response contains the expected text, else the error."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECS)
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http, http.get(url) as answer:
            text = await answer.text(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return f"does not answer ({str(error) or type(error).__name__})"
    return None if wanted in text else f"answers, but it is not this program (HTTP {answer.status})"
