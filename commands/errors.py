"""Errors that a person can mend: one sentence on stderr, exit code 2, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from access.dashboard_auth import DashboardUnusable
from access.exposure import Exposed
from access.public_address import BadPublicUrl
from cluster.control_client import ControlError
from cluster.worker_url import BadWorkerUrl
from commands.dotenv_file import place_of
from engines.duplex import EngineError
from hooks.callers import BadPattern
from hooks.check import HooksUnusable
from hooks.http import BadHookUrl
from records.directories import DirectoryUnusable
from runtime.plugin import PluginUnfit
from server.settings import SettingsError
from telephony.credentials import BadCredential
from telephony.e164 import BadNumber
from telephony.rest_errors import TwilioError
from telephony.tunnel import TunnelFailed

MENDABLE = (
    EngineError,
    BadHookUrl,
    BadPattern,
    BadPublicUrl,
    BadWorkerUrl,
    ControlError,
    HooksUnusable,
    BadNumber,
    DirectoryUnusable,
    TwilioError,
    TunnelFailed,
    Exposed,
    PluginUnfit,
    SettingsError,
    DashboardUnusable,
)


class Unusable(click.ClickException):
    """Something the person who started the command can put right; the text says how."""

    exit_code = 2


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors of our own that name their remedy into sentences for the terminal."""
    try:
        yield
    except BadCredential as error:
        raise Unusable(f"{error}{place_of(error.variable)}.") from error
    except MENDABLE as error:
        raise Unusable(str(error)) from error
