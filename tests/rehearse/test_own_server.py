from __future__ import annotations

import os

import aiohttp
import pytest

from moshi_phone.rehearse.own_server import OwnServer, OwnServerFailed
from moshi_phone.rehearse.status_client import StatusClient


@pytest.mark.slow
async def test_it_is_the_real_program_and_requires_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
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
async def test_a_failed_start_is_reported_with_the_program_s_error() -> None:
    said = list[str]()
    with pytest.raises(OwnServerFailed, match="none"):
        async with OwnServer({"MOSHI_ENGINE": "parrot", "MOSHI_CALLS": "none"}, said.append):
            raise AssertionError("it got ready")
    assert not [line for line in said if line.startswith("Error: ")], "the exception says it"


def test_warnings_and_tracebacks_are_shown_after_its_start() -> None:
    """A pipeline's error used to be a close code only."""
    said = list[str]()
    server = OwnServer({}, said.append)
    log = [
        "2026-11-30 12:00:01 INFO    Engine: parrot",
        "2026-11-30 12:00:02 INFO    CA12345678 The call began; 1 running",
        "2026-11-30 12:00:03 ERROR   CA12345678 The call's pipeline failed",
        "Traceback (most recent call last):",
        '  File "mine.py", line 3, in mine',
        "NameError: name 'transport' is not defined",
        "2026-11-30 12:00:04 INFO    CA12345678 The call ended after 0.0 s",
    ]
    server._hear(log[0])
    server._is_ready = True
    for line in log[1:]:
        server._hear(line)
    assert said == [log[0], *log[2:6]]
