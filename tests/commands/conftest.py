"""Fixtures of the tests of commands that answer calls."""

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
    """The engine that answers, in place of the one that the options select."""
    made = FakeEngine()
    monkeypatch.setattr(running, "create_engine", lambda _: EngineChoice(made, "as requested"))
    return made


@pytest.fixture
async def cloudflared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCloudflared]:
    """A fake cloudflared on the path, controlled by the test."""
    async with FakeCloudflared(tmp_path) as fake:
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        yield fake
