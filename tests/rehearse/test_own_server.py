from __future__ import annotations

import os

import aiohttp
import pytest

from moshi_phone.rehearse.own_server import OwnServer, ServerFailed
from moshi_phone.rehearse.status_client import StatusClient


@pytest.mark.slow
async def test_it_is_the_real_program_and_wants_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "MOSHI_WEB_PASSWORD", "the user's own")
    said = list[str]()
    async with OwnServer({"MOSHI_ENGINE": "parrot"}, said.append) as server:
        assert server.ready_s > 0
        health = await StatusClient(server.url).health()
        assert health is not None
        assert (health["ready"], health["engine"]) == (True, "parrot")
        calls = server.url.replace("ws:", "http:").replace("/stream", "/calls")
        async with aiohttp.ClientSession() as http:
            for password, status in (("the user's own", 401), (server.password, 200)):
                async with http.get(calls, auth=aiohttp.BasicAuth("x", password)) as answer:
                    assert answer.status == status
    assert said
    assert not any("rehearsal.example" in line for line in said)
    assert await StatusClient(server.url).health() is None


@pytest.mark.slow
async def test_one_that_does_not_start_says_why_in_its_own_words() -> None:
    with pytest.raises(ServerFailed, match="none"):
        async with OwnServer({"MOSHI_ENGINE": "parrot", "MOSHI_CALLS": "none"}):
            raise AssertionError("it got ready")
