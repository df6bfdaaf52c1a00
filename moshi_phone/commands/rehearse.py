"""``uv run bot.py rehearse``: a simulated call, checked point by point."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import cloup
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from moshi_phone.commands.errors import Unusable, explained
from moshi_phone.commands.options import GROUPS, as_environment, command, options_from
from moshi_phone.engines.options import EngineOptions
from moshi_phone.hooks.options import HookOptions
from moshi_phone.records.options import TapOptions
from moshi_phone.rehearse import rehearsal
from moshi_phone.rehearse.caller_voice import CallerVoice, load_voices
from moshi_phone.rehearse.checks import Criterion
from moshi_phone.rehearse.clip import CALLER_FILE, caller_speech
from moshi_phone.rehearse.clips import CLIPS
from moshi_phone.rehearse.options import RehearseOptions
from moshi_phone.rehearse.own_server import PUBLIC_URL, OwnServer
from moshi_phone.rehearse.provenance import Provenance
from moshi_phone.rehearse.reachable import check_reachable
from moshi_phone.rehearse.rehearsal import RehearsalResult, Target
from moshi_phone.rehearse.report import make_report_directory, write_report
from moshi_phone.rehearse.room import Room
from moshi_phone.rehearse.status_client import StatusClient
from moshi_phone.rehearse.table import BY_SPEED, checklist, delay_parts, distributions, scenes, shares
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.options import ServerOptions

_MIRROR_SECS = 6.0
CONVERSATION_SECS = 150.0  # approximate: it depends on how long the bot speaks
# The user's recordings, hooks and caller rules are not for a rehearsal: it records nothing, reports no call,
# and accepts its caller.
_NO_ONE_ELSE_S = as_environment(TapOptions()) | as_environment(CallOptions()) | as_environment(HookOptions())
_WIDTH_WITHOUT_TERMINAL = 140


@command()
@options_from(RehearseOptions)
@options_from(EngineOptions, without=("calls",))
@options_from(ServerOptions, only=("pipeline", "pipeline_option"))
@cloup.option(
    "--auth-token",
    group=GROUPS["rehearsal"],
    envvar="TWILIO_AUTH_TOKEN",
    help="With --url: the auth token of that server, to sign the webhook's request.",
)
@cloup.option(
    "--public-url",
    group=GROUPS["rehearsal"],
    envvar="PUBLIC_URL",
    help="With --url: the public URL of that server, which the signature covers.",
)
@cloup.option(
    "--web-password",
    group=GROUPS["rehearsal"],
    envvar="MOSHI_WEB_PASSWORD",
    help="With --url: the password of that server's /calls.",
)
def rehearse(
    *,
    rehearse_options: RehearseOptions,
    engine_options: EngineOptions,
    server_options: ServerOptions,
    auth_token: str | None,
    public_url: str | None,
    web_password: str | None,
) -> None:
    """Rehearse a call: simulate Twilio, measure what the caller hears, and check it point by point.

    Exit code 0 if every check passes, 1 if one fails, 2 if the call could not take place.
    """
    console = Console()
    if not console.is_terminal:  # rich assumes 80 columns there, which would wrap the checklist
        console = Console(width=_WIDTH_WITHOUT_TERMINAL)
    if rehearse_options.calls > 1:
        engine_options = dataclasses.replace(engine_options, calls=rehearse_options.calls)
    stage = _Stage(rehearse_options, server_options, console)
    with explained():
        # Options are checked before a server is started or called.
        stage.said(rehearse_options.secs)
        with _writing(rehearse_options.report):
            make_report_directory(rehearse_options.report)
        if rehearse_options.url:
            provenance = Provenance.now(rehearse_options)
            target = Target(rehearse_options.url, auth_token, public_url, web_password)
            calls = asyncio.run(stage.visit(target))
        else:
            provenance = Provenance.now(rehearse_options, engine_options)
            calls = asyncio.run(stage.host(engine_options))
    provenance = provenance.answered_by((calls[0].health or {}).get("engine"))
    with _writing(rehearse_options.report):
        written = write_report(rehearse_options.report, calls, provenance)
    if not _show(console, calls, written):
        raise SystemExit(1)


@contextmanager
def _writing(report: Path) -> Iterator[None]:
    """Report errors with the report's folder in one sentence."""
    try:
        yield
    except OSError as error:
        raise Unusable(f"Cannot write to {report} ({error.strerror}); choose another --report.") from error


@dataclasses.dataclass
class _Stage:
    """The rehearsal's server, and the progress display."""

    options: RehearseOptions
    server: ServerOptions
    console: Console

    def said(self, secs: float) -> bytes | list[CallerVoice]:
        """Return the callers' speech.

        Raises:
            ClipUnusable: when a clip cannot be played.
        """
        if self.options.conversation:
            return load_voices(self.options.caller or CLIPS)
        return caller_speech(self.options.caller or CALLER_FILE, secs)

    async def visit(self, target: Target) -> list[RehearsalResult]:
        """Rehearse with a running server.

        Raises:
            Unreachable: when no server answers.
        """
        await check_reachable(target.url)
        return await self._calls(target, self.options.secs, self.options.calls)

    async def host(self, engine: EngineOptions) -> list[RehearsalResult]:
        """Start a server and rehearse with it; then measure the line alone with a mirror, if needed."""
        self.console.print("Starting the server")
        async with OwnServer(self._environment(engine), self._say) as server:
            health = await StatusClient(server.url).health() or {}
            parrot = health.get("engine") == "parrot"
            delay_ms = engine.parrot_delay * 1000 if parrot else None
            target = _target(server, delay_ms)
            calls = await self._calls(target, self.options.secs, self.options.calls)
        # A public server numbers its backends in /healthz; here, their names are known.
        for call in calls:
            for server_behind, url in zip(
                (call.health or {}).get("servers", ()), engine.remote.server, strict=False
            ):
                server_behind["name"] = urlsplit(url).netloc
        if not parrot:
            line = await self._mirrored(engine)
            for call in calls:
                call.points = [line if point.key == line.key else point for point in call.points]
        return calls

    async def _mirrored(self, engine: EngineOptions) -> Criterion:
        """Measure the line itself, with an engine that returns the caller's audio at once."""
        self.console.print("Again with a mirror, to measure the line's quality")
        mirror = dataclasses.replace(engine, engine="parrot", parrot_delay=0.0)
        async with OwnServer(self._environment(mirror)) as server:
            (call,) = await self._calls(_target(server, 0.0), _MIRROR_SECS, 1, mirrored=True)
        return next(point for point in call.points if point.key == "quality")

    async def _calls(
        self, target: Target, secs: float, calls: int, *, mirrored: bool = False
    ) -> list[RehearsalResult]:
        said = caller_speech(self.options.caller or CALLER_FILE, secs) if mirrored else self.said(secs)
        secs = CONVERSATION_SECS if not isinstance(said, bytes) else secs
        rounds = 1 if mirrored else self.options.rounds
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        ) as progress:
            name = "Calling" if calls == 1 else f"{calls} callers"
            task = progress.add_task(name, total=secs * calls * rounds)
            made = list[RehearsalResult]()
            for number in range(rounds):
                made += await rehearsal.rehearse(
                    target,
                    said,
                    calls,
                    jitter_ms=self.options.jitter_ms,
                    make_room=(lambda _: None) if mirrored else self._room,
                    progress=lambda _: progress.advance(task),
                    take=number * calls,
                )
            return made

    def _room(self, number: int) -> Room | None:
        options = self.options
        if options.echo_ms is None and options.noise_db is None:
            return None
        return Room(options.echo_ms, options.echo_db, options.noise_db, seed=number)

    def _environment(self, engine: EngineOptions) -> dict[str, str]:
        server = as_environment(self.server)
        pipeline = {name: server[name] for name in ("MOSHI_PIPELINE", "MOSHI_PIPELINE_OPTION")}
        return {**_NO_ONE_ELSE_S, **as_environment(engine), **pipeline}

    def _say(self, line: str) -> None:
        self.console.print(f"  {line}", style="dim", markup=False, highlight=False)


def _target(server: OwnServer, repeats_after_ms: float | None) -> Target:
    return Target(
        server.url, server.auth_token, PUBLIC_URL, server.password, server.ready_s, repeats_after_ms
    )


def _show(console: Console, calls: list[RehearsalResult], written: list[Path]) -> bool:
    console.print()
    console.print(checklist(calls[0].points) if len(calls) == 1 else distributions(calls))
    console.print(BY_SPEED, style="dim")
    if any(call.scenes for call in calls):
        console.print(scenes(calls))
    for parts in (delay_parts(calls), shares(calls)):
        if parts:
            console.print(parts, highlight=False)
    all_held = all(call.held for call in calls)
    judged = {(point.title, point.passed) for call in calls for point in call.points}
    judged |= {(point.title, point.passed) for call in calls for point in call.scenes}
    where = ", ".join(str(path) for path in written[:4])
    console.print(f"\nReport: {where}", highlight=False)
    unjudged = {title for title, passed in judged if passed is None}
    if all_held:
        but = f" ({len(unjudged)} could not be judged)" if unjudged else ""
        console.print(f"Every point holds{but}.", style="bold green")
    else:
        failed = sorted(title for title, passed in judged if passed is False)
        console.print(f"Failed: {', '.join(failed)}.", style="bold red")
    return all_held
