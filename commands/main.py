"""The command line: ``python bot.py [COMMAND] [OPTIONS]``, where no command means ``serve``."""

from __future__ import annotations

import click
from dotenv import find_dotenv, load_dotenv

from commands.bench import bench
from commands.dial import dial
from commands.doctor import doctor
from commands.download import download
from commands.rehearse import rehearse_command
from commands.serve import serve
from telephony.version import VERSION


class DefaultsToServe(click.Group):
    """A group that serves when no command is named, so that ``python bot.py --port 80`` works."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``serve`` in front of options that belong to no command."""
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "--version")):
            args.insert(0, "serve")
        return super().parse_args(ctx, args)


@click.group(cls=DefaultsToServe)
@click.version_option(package_name=None, version=VERSION, prog_name="moshi-phone")
def cli() -> None:
    """Talk with Moshi on the phone.

    Without a command, "serve" runs: "python bot.py --port 5001" answers calls.
    "python bot.py COMMAND --help" tells what each command takes. Every option can also be set as an
    environment variable, or in a file named .env in this folder or above it; the command line wins.
    """


cli.add_command(rehearse_command)
cli.add_command(serve)
cli.add_command(dial)
cli.add_command(doctor)
cli.add_command(download)
cli.add_command(bench)


def main() -> None:
    """Run the command line, with what ``.env`` adds to the environment."""
    load_dotenv(find_dotenv(usecwd=True))
    cli(prog_name="python bot.py")
