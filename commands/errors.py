"""Errors that a person can mend: one sentence on stderr, exit code 2, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from engines.duplex import EngineError


class Unusable(click.ClickException):
    """Something the person who started the command can put right; the text says how."""

    exit_code = 2


@contextmanager
def explained() -> Iterator[None]:
    """Turn an engine's own errors into sentences for the terminal."""
    try:
        yield
    except EngineError as error:
        raise Unusable(str(error)) from error
