from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import cast
from unittest.mock import patch

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from moshi_phone.server.lifecycle import listen
from moshi_phone.server.net import http_server
from moshi_phone.server.net.http_server import listening, uvicorn_config


async def test_it_answers_only_while_the_block_runs() -> None:
    app = FastAPI()
    app.get("/")(lambda: "here")
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    before = signal.getsignal(signal.SIGTERM)
    async with httpx.AsyncClient(trust_env=False) as http, listening(uvicorn_config(app), listener):
        assert (await http.get(url)).json() == "here"
        assert signal.getsignal(signal.SIGTERM) is before  # signals are the program's, not uvicorn's
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(url)


def test_connections_leave_file_descriptors_for_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "raise_limit", lambda: 256)  # as on macOS
    config = uvicorn_config(FastAPI())
    assert config.limit_concurrency == 128
    (connections,) = cast("partial[object]", config.http).args  # what uvicorn makes its protocols with
    assert connections.limits.waiting == 64


async def test_the_loop_sleeps_while_nothing_happens_and_the_end_comes_at_once() -> None:
    loop, began_s = asyncio.get_running_loop(), 0.0
    with patch.object(uvicorn.Server, "on_tick", autospec=True, side_effect=uvicorn.Server.on_tick) as ticks:
        async with listening(uvicorn_config(FastAPI()), listen("127.0.0.1", 0)):
            await asyncio.sleep(0.35)
            assert ticks.call_count == 1  # uvicorn's own: 4
            began_s = loop.time()
    assert loop.time() - began_s < 0.9  # not at the next tick
