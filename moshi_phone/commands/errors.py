"""Errors that a person can mend: one sentence on stderr, exit code 2, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from moshi_phone.access.dashboard_auth import DashboardUnusable
from moshi_phone.access.exposure import Exposed
from moshi_phone.access.public_address import BadPublicUrl
from moshi_phone.cluster.control_client import ControlError
from moshi_phone.cluster.worker_url import BadWorkerUrl
from moshi_phone.commands.dotenv_file import place_of
from moshi_phone.engines.duplex import EngineError
from moshi_phone.hooks.callers import BadPattern
from moshi_phone.hooks.check import HooksUnusable
from moshi_phone.hooks.http import BadHookUrl
from moshi_phone.records.directories import DirectoryUnusable
from moshi_phone.runtime.plugin import PluginUnfit
from moshi_phone.runtime.tunnel import TunnelFailed
from moshi_phone.server.settings import SettingsError
from moshi_phone.telephony.credentials import BadCredential
from moshi_phone.telephony.e164 import BadNumber
from moshi_phone.telephony.rest_errors import TwilioError

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
