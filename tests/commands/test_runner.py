"""``bot.py runner`` without the packages of its extra."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from moshi_phone.commands.runner import runner


@pytest.mark.parametrize("package", ["python_multipart", "pipecat.runner"])
def test_a_missing_extra_is_one_sentence(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-multipart, which FastAPI imports late, there was a traceback."""
    monkeypatch.setitem(sys.modules, package, None)
    result = CliRunner().invoke(runner, ["-t", "twilio"])
    assert result.exit_code == 1
    assert package in result.output
    assert result.output.endswith("uv run --extra runner bot.py runner -t twilio\n")
