"""deploy/kubernetes/proxy.yaml in HAProxy: webhooks go to any pod, a stream to the pod in its path."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from bot import run_call
from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.lifecycle import listen
from moshi_phone.server.net.http_server import listening, uvicorn_config
from moshi_phone.server.web.app import create_app
from tests.deploy.test_names import manifest
from tests.support.phone import Phone, start_message

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs HAProxy (Debian's haproxy)")
PUBLIC = "https://phone.example.com"
AUTH_TOKEN = "f" * 32
PODS = ("127.0.0.2", "127.0.0.3")
CALL = "CA" + "1" * 32


def configuration(port: int, pod_port: int) -> str:
    """Return the manifest's configuration, with this machine's addresses in place of a cluster's."""
    text: str = manifest("ConfigMap", "moshi-phone-proxy")["data"]["haproxy.cfg"]
    for theirs, ours in (
        ("bind :8080", f"bind 127.0.0.1:{port}"),
        ("moshi-phone:5001", f"{PODS[0]}:{pod_port}"),
        ("int(5001)", f"int({pod_port})"),
        ("10.0.0.0/8", "127.0.0.2/31"),
    ):
        assert theirs in text
        text = text.replace(theirs, ours)
    return text


@asynccontextmanager
async def pods() -> AsyncIterator[tuple[int, dict[str, ServerState]]]:
    """Two servers of one session each, at two addresses and one port."""
    port, states = 0, dict[str, ServerState]()
    async with AsyncExitStack() as stack:
        for host in PODS:
            listener = listen(host, port)
            port = listener.getsockname()[1]
            own = PublicAddress(f"{PUBLIC}/pods/{host}")
            engine = ParrotEngine(delay_s=0, capacity=1)
            auth = StreamAuth.for_account(AUTH_TOKEN, own)
            states[host] = state = ServerState(engine, auth=auth, webhook_base_url=PublicAddress(PUBLIC))
            await state.startup.run(engine, lambda _: None)
            stack.push_async_callback(engine.stop)
            await stack.enter_async_context(listening(uvicorn_config(create_app(state, run_call)), listener))
        yield port, states


@asynccontextmanager
async def proxy(pod_port: int, folder: Path) -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = folder / "haproxy.cfg"
    path.write_text(configuration(port, pod_port))
    process = await asyncio.create_subprocess_exec("haproxy", "-db", "-q", "-f", str(path))
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def ask(address: str) -> tuple[str, str]:
    """Post a call's webhook as Twilio does; return the stream's path and its token."""
    form = {"CallSid": CALL, "From": "+15551234567", "To": "+15005550006", "CallStatus": "ringing"}
    signature = RequestValidator(AUTH_TOKEN).compute_signature(f"{PUBLIC}/twiml", form)
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"http://{address}/twiml", data=form, headers={"X-Twilio-Signature": signature}) as answer,
    ):
        assert answer.status == 200, await answer.text()
        stream = ET.fromstring(await answer.text()).find("Connect/Stream")  # noqa: S314 - our own
    assert stream is not None
    status = stream.get("statusCallback")
    assert status == f"{PUBLIC}/status"
    parameter = stream.find("Parameter")
    assert parameter is not None
    return urlsplit(stream.attrib["url"]).path, parameter.attrib["value"]


async def test_a_stream_reaches_the_pod_that_answered_its_webhook(tmp_path: Path) -> None:
    async with pods() as (port, states), proxy(port, tmp_path) as address:
        path, token = await ask(address)
        assert path == f"/pods/{PODS[0]}/stream"
        start = start_message(parameters={"token": token}, call_sid=CALL)
        async with Phone.calling(address, start, path) as phone:
            await phone.say(times=20)
            await phone.listen(frames=1)
            assert [state.engine.running for state in states.values()] == [1, 0]


async def test_the_other_pod_is_reached_by_its_address(tmp_path: Path) -> None:
    async with pods() as (port, states), proxy(port, tmp_path) as address:
        token = states[PODS[1]].mint(CALL)
        start = start_message(parameters={"token": token}, call_sid=CALL)
        async with Phone.calling(address, start, f"/pods/{PODS[1]}/stream") as phone:
            await phone.say(times=20)
            await phone.listen(frames=1)
            assert [state.engine.running for state in states.values()] == [0, 1]


async def test_other_addresses_are_not_reachable(tmp_path: Path) -> None:
    async with pods() as (port, _), proxy(port, tmp_path) as address:
        for host in ("127.0.0.1", "192.0.2.1", "1", "999.1.1.1"):
            with pytest.raises(InvalidStatus) as refusal:
                async with connect(f"ws://{address}/pods/{host}/stream"):
                    pass
            assert refusal.value.response.status_code == 403
