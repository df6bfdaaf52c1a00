"""Has uv install the tests' tools before the first test, since ``uv run bot.py`` installs none of them."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec

import pytest

_INSTALLED = "MOSHI_PHONE_TEST_TOOLS"  # so that nothing is tried twice


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:  # noqa: ARG001
    """Restart pytest if its plugins are missing. Runs before options are parsed, some of which are theirs."""
    if find_spec("xdist") and find_spec("pytest_timeout"):
        return
    capture = pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()  # otherwise the new process writes into its files
    uv = os.environ.get("UV") or shutil.which("uv")  # the first is set by uv run
    if uv is None or _INSTALLED in os.environ:
        os.write(2, b"The tests need their tools: uv run --group dev pytest\n")
        os._exit(4)  # pytest's own exit expects the capture to run
    os.environ[_INSTALLED] = "1"
    os.execv(uv, [uv, "run", "--group", "dev", "pytest", *sys.argv[1:]])  # noqa: S606 - uv itself
