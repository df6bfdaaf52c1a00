"""The command line: ``uv run bot.py [COMMAND] [OPTIONS]``, where no command means ``serve``."""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import click

from moshi_phone.commands.dotenv_file import load_dotenv_file
from moshi_phone.commands.logs import log_to_stderr
from moshi_phone.runtime.event_loop import CLEANUP_SECS
from moshi_phone.runtime.last_resort import last_resort
from moshi_phone.runtime.version import VERSION

COMMANDS = {
    "serve": "Answer calls (the default).",
    "cluster": "Answer calls with several servers.",
    "dial": "Call a phone number.",
    "rehearse": "Simulate a whole call without a phone, and check it.",
    "calls": "List past calls, including refused ones (--calls-db).",
    "review": "Analyse recorded calls: turn-taking and response times.",
    "doctor": "Check the setup, with a remedy for each problem.",
    "download": "Download Moshi's weights.",
    "voices": "List the voices, or play one.",
    "bench": "Measure this machine's speed, and its capacity in calls.",
    "estimate": "Estimate what a line needs and costs in a month.",
    "runner": "Answer calls under pipecat's own runner.",
}
"""The commands, the most used first, with their lines in the list: --help loads none of them."""

INTERRUPTED = 128 + signal.SIGINT


class Commands(click.Group):
    """The commands, each imported from ``commands/NAME.py`` on first use.

    So no command waits for another one's imports, and ``.env`` is loaded before any library reads the
    environment (``HF_HOME``). Without a command, ``serve`` runs.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return their names, the most used first."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """List them without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        """Import a command; return None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        log_to_stderr("warning")  # pipecat logs a banner on import
        try:
            command: click.Command = getattr(import_module(f"moshi_phone.commands.{cmd_name}"), cmd_name)
        except ModuleNotFoundError as error:
            package = (error.name or str(error)).partition(".")[0]
            raise click.ClickException(
                f"{cmd_name} needs the package {package}, which is not installed: run uv sync in the "
                "repository, or install moshi-phone[server,moshi,rehearse]."
            ) from error
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # set by bot.py while packages were imported
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert ``serve`` before options without a command.

        Raises:
            click.UsageError: when they are options of pipecat's runner.
        """
        if args and args[0] in ("-t", "--transport"):
            raise click.UsageError(
                f"{args[0]} is an option of pipecat's own runner: "
                f"uv run --extra runner bot.py runner {' '.join(args)}",
                ctx,
            )
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "--version")):
            # Options without a command are those of serve, except --help and --version.
            args.insert(0, "serve")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Ctrl-C in a command that does not handle it ends the process silently."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, or suggest a similar one.

        Raises:
            click.UsageError: when there is no such command.
        """
        # click's own error suggests no similar command.
        if args[0] not in COMMANDS:
            like = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {like[0]}?" if like else f"there are {', '.join(COMMANDS)}."
            raise click.UsageError(f"There is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands)
@click.version_option(package_name=None, version=VERSION, prog_name="moshi-phone")
def cli() -> None:
    """Talk with Moshi on the phone.

    Without a command, "serve" runs: "uv run bot.py --port 5001" answers calls.
    "uv run bot.py COMMAND --help" lists the options of a command, --help-all also the rare ones. Each option
    can be set on the command line, in the environment or a file named .env (by the variable that its help
    names), or in a settings file (--config FILE.toml, by its own name); the first of these wins.
    """


def main(load_run_call: Callable[[], Callable[..., Awaitable[None]]]) -> None:
    """Run the command line, with what ``.env`` adds to the environment.

    Args:
        load_run_call: imports what drives one call (``bot.run_call``), and pipecat with it, which takes
            seconds. The commands that answer calls get it from click's context, so that no command imports
            bot.py.
    """
    load_dotenv_file()
    try:
        cli(prog_name="uv run bot.py", obj=load_run_call)
    except SystemExit as end:  # click always ends this way
        last_resort.arm(CLEANUP_SECS, end.code if isinstance(end.code, int) else 1)
        raise
