from __future__ import annotations

import signal

import httpx
import pytest
from fastapi import FastAPI

from moshi_phone.server.lifecycle import listen, uvicorn_config
from moshi_phone.server.net.http_server import listening


async def test_it_answers_while_the_block_runs_and_not_after() -> None:
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
