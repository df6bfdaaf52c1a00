"""What the tests of commands that answer calls share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moshi_phone.engines.choose import EngineChoice
from moshi_phone.server import lifecycle as running
from moshi_phone.testing.engine import FakeEngine
from tests.fakes.cloudflared import FakeCloudflared


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Who answers in place of what the options name."""
    made = FakeEngine()
    monkeypatch.setattr(running, "create_engine", lambda _: EngineChoice(made, "as requested"))
    return made


@pytest.fixture
async def cloudflared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCloudflared]:
    """A cloudflared on the path that does what a test says."""
    async with FakeCloudflared(tmp_path) as fake:
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        yield fake
