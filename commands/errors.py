"""Errors that a person can mend: one sentence on stderr, exit code 2, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from engines.duplex import EngineError
from pipelines.taps import DirectoryUnusable
from telephony.address import BadPublicUrl
from telephony.guard import Unguarded
from telephony.numbers import BadNumber
from telephony.onlookers import WebUnusable
from telephony.rest_errors import TwilioTrouble
from telephony.tunnel import TunnelFailed

MENDABLE = (
    EngineError,
    BadPublicUrl,
    BadNumber,
    DirectoryUnusable,
    TwilioTrouble,
    TunnelFailed,
    Unguarded,
    WebUnusable,
)


class Unusable(click.ClickException):
    """Something the person who started the command can put right; the text says how."""

    exit_code = 2


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors of our own that name their remedy into sentences for the terminal."""
    try:
        yield
    except MENDABLE as error:
        raise Unusable(str(error)) from error
