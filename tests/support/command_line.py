"""The command line in this process, with a ``.env`` file: starting the program takes seconds."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import pytest

from bot import run_call
from moshi_phone.commands import dotenv_file
from moshi_phone.commands.main import main
from moshi_phone.runtime.last_resort import LastResort
from tests.support.logs import log_put_back


def run_main(*arguments: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command in a folder with this environment only; return its exit code and its stderr."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_STATE_HOME") if name in os.environ}
    stderr = io.StringIO()
    with (
        log_put_back(),
        mock.patch.dict(os.environ, kept | dict(environment), clear=True),  # the .env file is added to it
        mock.patch.object(sys, "argv", ["bot.py", *arguments]),
        mock.patch.object(dotenv_file, "_loaded", []),
        mock.patch.object(LastResort, "arm"),  # it would end the process of the tests
        contextlib.chdir(folder),
        contextlib.redirect_stderr(stderr),
        pytest.raises(SystemExit) as end,
    ):
        main(lambda: run_call)
    return int(end.value.code or 0), stderr.getvalue()
