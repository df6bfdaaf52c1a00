"""User errors on the command line: one sentence on stderr, exit code 2, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from moshi_phone.commands.dotenv_file import place_of
from moshi_phone.runtime.errors import UserError


class Unusable(click.ClickException):
    """A user error as click reports it."""

    exit_code = 2


@contextmanager
def explained() -> Iterator[None]:
    """Print each ``UserError`` as one sentence. Other exceptions keep their traceback."""
    try:
        yield
    except UserError as error:
        place = f"{place_of(error.variable)}." if error.variable else ""
        raise Unusable(f"{error}{place}") from error
