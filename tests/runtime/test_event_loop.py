"""uvloop if it is installed, and asyncio's own loop otherwise."""

from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop

from moshi_phone.runtime import event_loop


async def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_uvloop_is_used_if_installed() -> None:
    assert isinstance(event_loop.run(loop()), uvloop.Loop)


def test_asyncio_s_own_loop_is_used_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert not isinstance(event_loop.run(loop()), uvloop.Loop)
