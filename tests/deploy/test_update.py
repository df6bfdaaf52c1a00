"""deploy/two-servers.cfg in HAProxy: an update on one machine refuses no call and cuts none."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bot import run_call
from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.runtime.ports import free_port
from moshi_phone.server.calls.draining import CLOSING
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.lifecycle import listen
from moshi_phone.server.net.http_server import listening, uvicorn_config
from moshi_phone.server.web.app import create_app
from tests.deploy.test_names import DEPLOY
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import FakeTwilioVoice
from tests.support.phone import Phone
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs HAProxy (Debian's haproxy)")
PUBLIC = "https://phone.example.com"
LOUD = bytes([0x10, 0x90] * 80)


@asynccontextmanager
async def instance(name: str, port: int) -> AsyncIterator[ServerState]:
    """A server as ``MOSHI_STREAM_URL=https://phone.example.com/NAME`` configures it."""
    engine = ParrotEngine(delay_s=0)
    auth = StreamAuth.for_account(AUTH_TOKEN, PublicAddress(f"{PUBLIC}/{name}"))
    state = ServerState(engine, auth=auth, webhook_base_url=PublicAddress(PUBLIC))
    async with AsyncExitStack() as stack:
        await state.startup.run(engine, lambda _: None)
        stack.push_async_callback(engine.stop)
        app = create_app(state, run_call)
        await stack.enter_async_context(listening(uvicorn_config(app), listen("127.0.0.1", port)))
        yield state


@asynccontextmanager
async def proxy(ports: dict[str, int], folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Run HAProxy with the file's own configuration; return its address, and the path of its admin socket."""
    text, port, admin = (DEPLOY / "two-servers.cfg").read_text(), free_port(), f"{folder}/admin.sock"
    for theirs, ours in (
        ("bind :443 ssl crt /etc/haproxy/phone.pem alpn http/1.1", f"bind 127.0.0.1:{port}"),
        ("/run/haproxy/admin.sock", admin),
        ("127.0.0.1:5001", f"127.0.0.1:{ports['a']}"),
        ("127.0.0.1:5003", f"127.0.0.1:{ports['b']}"),
        ("inter 500ms", "inter 50ms"),
    ):
        assert theirs in text
        text = text.replace(theirs, ours)
    (folder / "haproxy.cfg").write_text(text)
    process = await asyncio.create_subprocess_exec("haproxy", "-db", "-q", "-f", f"{folder}/haproxy.cfg")
    try:
        await until(lambda: _listens(port))
        yield f"127.0.0.1:{port}", admin
    finally:
        process.terminate()
        await process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tell(admin: str, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(admin)
        control.sendall(f"{command}\n".encode())
        return control.recv(65536).decode()


def is_up(admin: str, name: str) -> bool:
    lines = tell(admin, "show stat").splitlines()
    return any(line.startswith(f"phones,{name},") and ",UP," in line for line in lines)


@asynccontextmanager
async def calling(voice: FakeTwilioVoice, address: str, number: int) -> AsyncIterator[tuple[Phone, str]]:
    """Call through the proxy; return the phone, and which instance has the call."""
    sid = f"CA{number:032x}"
    twiml = await voice.call_in(f"{PUBLIC}/twiml", sid)
    path = urlsplit(twiml.split('url="')[1].split('"')[0]).path
    voice._workers = {"phone.example.com": f"{address}"}
    async with voice.obey(twiml, sid) as (phone, _):  # <Reject> or no stream would raise
        await phone.say(LOUD, times=8)
        await phone.listen(1)
        yield phone, path.split("/")[1]


@pytest.mark.slow
async def test_an_update_refuses_no_call_and_cuts_none(tmp_path: Path) -> None:
    ports = {"a": free_port(), "b": free_port()}
    voice, answered = FakeTwilioVoice(PUBLIC, ""), list[str]()
    async with proxy(ports, tmp_path) as (address, admin), instance("a", ports["a"]) as old:
        voice = FakeTwilioVoice(PUBLIC, address)
        await until(lambda: is_up(admin, "a"))
        async with calling(voice, address, 1) as (long_call, where):
            assert where == "a"
            async with instance("b", ports["b"]) as new:  # systemctl start moshi-phone@b
                await until(lambda: is_up(admin, "b"))

                async def call_all_the_time() -> None:
                    for number in range(2, 22):
                        await long_call.say(LOUD)
                        async with calling(voice, address, number) as (phone, name):
                            answered.append(name)
                            await phone.send({"event": "stop"})

                callers = asyncio.create_task(call_all_the_time())
                await until(lambda: len(answered) >= 5)
                tell(admin, "set server phones/a state drain")
                await asyncio.sleep(0.3)  # running webhooks are completed
                old.calls.closing = CLOSING  # systemctl stop moshi-phone@a
                await callers
                assert len(answered) == 20
                assert answered[-1] == "b"
                assert "a" in answered[:6]
                await long_call.say(LOUD, times=8)
                await long_call.listen(2)  # the old instance's call continues
                assert [each.refusals.by_cause for each in (old, new)] == [{}, {}]
                await long_call.send({"event": "stop"})
