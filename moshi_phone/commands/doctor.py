"""``uv run bot.py doctor``: check whether a call would work."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

import cloup

from moshi_phone.commands.checks.check import Check
from moshi_phone.commands.checks.line import (
    check_cloudflared,
    check_credentials,
    check_number,
    check_port,
    check_public_url,
)
from moshi_phone.commands.checks.machine import (
    check_accelerator,
    check_disk,
    check_listening,
    check_memory,
    check_packages,
    check_python,
    check_voices,
    check_weights,
    moshi_answers,
)
from moshi_phone.commands.checks.servers import check_servers
from moshi_phone.commands.errors import explained
from moshi_phone.commands.logs import log_to_stderr
from moshi_phone.commands.options import command, options_from, phone_number_option
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.personas import resolve_personas
from moshi_phone.runtime import event_loop
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.options import ReachOptions, TwilioOptions

PHONE_ONLY = ("cloudflared", "credentials", "number", "public")
"""First words of the checks that the browser phone does not need."""


@command()
@cloup.option("--json", "as_json", is_flag=True, help="Print JSON.")
@phone_number_option("Your Twilio number; may be repeated.")
@options_from(TwilioOptions)
@options_from(ReachOptions)
@options_from(EngineOptions)
@options_from(ServerOptions)
def doctor(
    *,
    as_json: bool,
    number: tuple[str, ...],
    twilio_options: TwilioOptions,
    reach_options: ReachOptions,
    engine_options: EngineOptions,
    server_options: ServerOptions,
) -> None:
    """Check everything that a phone call needs, and print a remedy for each failed check.

    Takes the same options as serve; with --tunnel, it opens a tunnel. The exit code is 0 if a call would
    work, and 1 if it would not.
    """
    secrets = [twilio_options.auth_token, engine_options.remote.server_token]
    # Errors only: the checks report everything else themselves.
    log_to_stderr("error", secrets, server_options.log_format)
    with explained():
        # Not Settings.check(), which stops at the first error: here each error is a line.
        settled, _ = resolve_personas(engine_options)
        options = Settings(server=server_options, engine=settled, twilio=twilio_options, reach=reach_options)
        options.address()
        checks = event_loop.run(_examine(options, number, quiet=as_json))
    failed = [check for check in checks if check.state == "fail"]
    works = not failed
    if as_json:
        print(json.dumps({"works": works, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        is_public = options.reach.tunnel or options.address().base is not None
        print(_verdict(failed, None if is_public else options.server.port))
    sys.exit(0 if works else 1)


def _verdict(failed: list[Check], port: int | None) -> str:
    """Return the last line.

    Args:
        failed: the failed checks.
        port: of the browser phone; None if the server is public, where it needs a password.
    """
    if not failed:
        return "A call would work."
    said = "A phone call would not work yet: see the lines with FAIL."
    if port is None or any(check.name.partition(" ")[0] not in PHONE_ONLY for check in failed):
        return said
    return f"{said} The browser phone would: uv run bot.py, then http://localhost:{port}."


async def _examine(options: Settings, numbers: Sequence[str], *, quiet: bool) -> list[Check]:
    """Run one check after the other, and print each result at once."""
    checks: list[Check] = []

    def show(check: Check) -> Check:
        checks.append(check)
        if not quiet:
            print(check, flush=True)
        return check

    show(check_python())
    show(check_packages())
    show(check_accelerator(options.engine))
    weights = show(check_weights(options.engine))
    if options.engine.listens:
        show(check_listening(options.engine))
    here = weights.state == "ok" or not moshi_answers(options.engine)
    show(check_disk(options.engine, weights_are_here=here))
    show(check_memory(options.engine))
    if (voices := check_voices(options.engine)) is not None:
        show(voices)
    for server in await check_servers(options.engine):
        show(server)
    show(await check_port(options))
    show(await check_cloudflared(options))
    credentials, api = await check_credentials(options)
    show(credentials)
    for number in numbers or (None,):
        check = await check_number(options, number, api)
        show(replace(check, name=f"number {number[-3:]}") if number and len(numbers) > 1 else check)
    show(await check_public_url(options))
    return checks
