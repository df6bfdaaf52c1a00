"""server/web/admin.py: monitoring on a separate port, hidden on the public one."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.options import WebOptions
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.runtime.ports import free_port
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.net.http_server import uvicorn_config
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.admin import create_admin_app
from moshi_phone.server.web.local_calls import LocalCalls
from moshi_phone.testing.engine import FakeEngine
from tests.support.command_line import run_main
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, serving_app, start_message
from tests.support.program import program

CALL_SID = "CA" + "4" * 32
LOUD = bytes([0x20, 0xA0]) * 80


def admin_app(state: ServerState) -> FastAPI:
    return create_admin_app(LocalCalls(state), state.settings.web)


def public_line(admin_host: str = "127.0.0.1") -> ServerState:
    auth = StreamAuth.for_account("f" * 32, PublicAddress("https://phone.example.com"))
    return ServerState(FakeEngine(), Settings(web=WebOptions(admin_port=0, admin_host=admin_host)), auth=auth)


async def test_prometheus_scrapes_the_private_port_of_a_public_server() -> None:
    line = public_line()
    start = start_message(call_sid=CALL_SID, parameters={"token": line.mint(CALL_SID)})
    async with (
        serving(line) as address,
        serving_app(uvicorn_config(admin_app(line))) as admin,
        httpx.AsyncClient() as http,
        Phone.calling(address, start) as phone,
    ):
        await phone.say(LOUD, times=8)
        await phone.listen(2)
        for path in ("/metrics", "/calls", f"/calls/{CALL_SID}"):
            assert (await http.get(f"http://{address}{path}")).status_code == 403
            assert (await http.get(f"http://{admin}{path}")).status_code == 200
        assert (await http.get(f"http://{admin}/calls")).json()["running"][0]["name"] == CALL_SID[:10]
        assert (await http.get(f"http://{admin}/healthz")).json()["calls"] == 1
        scraped = (await http.get(f"http://{admin}/metrics")).text
        samples = {
            sample.name: sample.value
            for family in text_string_to_metric_families(scraped)
            for sample in family.samples
        }
        assert (samples["moshi_ready"], samples["moshi_calls_running"]) == (1, 1)
        assert samples["moshi_lost_calls_total"] == samples["moshi_refusals_total"] == 0
        await line.engine.stop()
        assert "moshi_ready 0.0" in (await http.get(f"http://{admin}/metrics")).text


async def test_other_paths_are_404() -> None:
    async with (
        serving_app(uvicorn_config(admin_app(public_line()))) as admin,
        httpx.AsyncClient(base_url=f"http://{admin}") as http,
    ):
        for path in ("/", "/web/app.js", "/stream", "/docs", "/openapi.json", "/metrics/"):
            assert (await http.get(path)).status_code == 404
        for path in ("/twiml", "/status", "/web/call", f"/calls/{CALL_SID}/say"):
            assert (await http.post(path)).status_code in (404, 405)


@pytest.mark.parametrize("host", ["evil.example", "a{b}.evil.com", ""])
async def test_dns_rebinding_is_refused(host: str) -> None:
    async with (
        serving_app(uvicorn_config(admin_app(public_line()))) as admin,
        httpx.AsyncClient(base_url=f"http://{admin}") as http,
    ):
        for path in ("/metrics", "/calls", f"/calls/{CALL_SID}"):
            assert (await http.get(path, headers={"Host": host})).status_code == 403


async def test_on_another_address_access_is_not_checked(logged: Logged) -> None:
    async with (
        serving_app(uvicorn_config(admin_app(public_line("172.17.0.1")))) as admin,
        httpx.AsyncClient(base_url=f"http://{admin}") as http,
    ):
        assert (await http.get("/metrics", headers={"Host": "moshi:5002"})).status_code == 200
    assert "WARNING --admin-host 172.17.0.1" in logged.text


async def test_the_program_logs_its_address() -> None:
    environment = {"MOSHI_ENGINE": "parrot", "MOSHI_PORT": "0", "MOSHI_ADMIN_PORT": "0"}
    async with program(environment=environment) as running:
        line = await running.says("Monitoring at http://127.0.0.1:")
        await running.says("Answering calls at")
        async with httpx.AsyncClient() as http:
            answer = await http.get(line.split()[-1])
            assert "moshi_ready 1.0" in answer.text


def test_both_ports_are_checked_before_the_start(tmp_path: Path) -> None:
    """It ended in a traceback: two of our sockets could bind one port, but only one could listen."""
    port = str(free_port())
    environment = {"MOSHI_ENGINE": "parrot", "MOSHI_PORT": port, "MOSHI_ADMIN_PORT": port}
    code, said = run_main("serve", folder=tmp_path, environment=environment)
    assert code == 2
    assert said.splitlines()[-1] == f"Error: Port {port} is taken; choose another with --admin-port."


@pytest.mark.slow
async def test_a_port_in_use_is_reported_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {"MOSHI_ENGINE": "parrot", "MOSHI_PORT": "0", "MOSHI_ADMIN_PORT": str(port)}
        async with program(environment=environment) as running:
            assert await running.ends() == 2
    assert running.said.splitlines()[-1] == f"Error: Port {port} is taken; choose another with --admin-port."
