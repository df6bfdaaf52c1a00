"""The doctor's checks of the network and of Twilio: each success, each failure, each with its remedy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from moshi_phone.access.public_address import PublicAddress
from moshi_phone.commands.checks import line
from moshi_phone.commands.checks.check import Check
from moshi_phone.commands.checks.line import (
    check_cloudflared,
    check_credentials,
    check_number,
    check_port,
    check_public_url,
)
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.lifecycle import listen
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.options import ReachOptions, TwilioOptions
from moshi_phone.telephony.rest import TwilioApi
from tests.commands.checks.test_machine import PARROT, is_bad
from tests.fakes.cloudflared import URL, FakeCloudflared
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, FakeTwilioApi
from tests.support.phone import serving

OPTIONS = Settings(server=ServerOptions(port=0), engine=PARROT)


@pytest.fixture
async def cloudflared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCloudflared]:
    async with FakeCloudflared(tmp_path, ready_at_once=True) as fake:
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        yield fake


async def test_the_port() -> None:
    def at(port: int) -> Settings:
        return replace(OPTIONS, server=ServerOptions(port=port))

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        assert is_bad(await check_port(at(port)), f"Port {port} is taken; choose another with --port.")
    assert (await check_port(at(port))).found == f"127.0.0.1:{port} is free"
    async with serving(ServerState(ParrotEngine())) as address:
        check = await check_port(at(int(address.partition(":")[2])))
    assert (check.state, check.found) == ("ok", f"{address} is taken, by this program, which is running")


async def test_cloudflared(cloudflared: FakeCloudflared) -> None:
    assert (await check_cloudflared(OPTIONS)).found.startswith("cloudflared version 2026.1.0")


async def test_a_missing_cloudflared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert is_bad(await check_cloudflared(OPTIONS), "not installed", "or set PUBLIC_URL")
    with_url = replace(OPTIONS, reach=ReachOptions(public_url="https://a.com"))
    assert (await check_cloudflared(with_url)).state == "note"


async def test_a_cloudflared_that_cannot_be_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cloudflared").write_text("not a program")
    (tmp_path / "cloudflared").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert is_bad(await check_cloudflared(OPTIONS), "does not run", "install it again")


async def test_a_silent_cloudflared_is_not_left_running(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program, noted = tmp_path / "cloudflared", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {noted}\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(line, "ANSWER_SECS", 0.5)
    assert is_bad(await check_cloudflared(OPTIONS), "does not run", "install it again")
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


async def test_credentials(twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moshi_phone.telephony.rest_requests.RETRY_DELAYS_SECS", ())

    async def check(sid: str | None = ACCOUNT_SID, token: str | None = AUTH_TOKEN) -> Check:
        given = replace(OPTIONS, twilio=TwilioOptions(sid, token, twilio.url))
        found, api = await check_credentials(given)
        assert (api is None) == (found.state == "fail" and "trial" not in found.found)
        return found

    assert (await check()).found == "a full account"
    assert [(one.method, one.path) for one in twilio.requests] == [
        ("GET", f"/2010-04-01/Accounts/{ACCOUNT_SID}.json")
    ]
    assert is_bad(await check(token="wrong"), "TWILIO_AUTH_TOKEN: expected 32 hexadecimal digits, got 5")
    assert is_bad(await check(token="0" * 32), "check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN")
    assert is_bad(await check(token=None), "not set", "set TWILIO_AUTH_TOKEN in .env")
    assert is_bad(await check(None, None), "not set", "set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN in .env")
    twilio.fail(500)
    assert is_bad(await check(), "an error of its own (HTTP 500)")
    twilio.account_type = "Trial"
    assert is_bad(await check(), "a trial account: Twilio blocks <Stream>", "upgrade it at https://console")
    twilio.account_status = "suspended"
    assert is_bad(await check(), "the Twilio account is suspended")


async def test_the_number(twilio: FakeTwilioApi) -> None:
    api = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url)
    assert (await check_number(OPTIONS, NUMBER, api)).found.startswith("goes to nowhere now; it will ring")
    fixed = replace(OPTIONS, reach=ReachOptions(public_url="https://phone.example.com"))
    twilio.number["voice_url"] = "https://phone.example.com/twiml"
    assert (await check_number(fixed, NUMBER, api)).found == "rings at https://phone.example.com/twiml"
    twilio.number["voice_application_sid"] = "AP1"
    assert "goes to AP1 now" in (await check_number(fixed, NUMBER, api)).found
    twilio.number["trunk_sid"] = "TK1"
    assert is_bad(await check_number(OPTIONS, NUMBER, api), "belongs to a SIP trunk", "take it out")
    assert is_bad(await check_number(OPTIONS, "+15551234567", api), "has no number that ends in 567")
    assert is_bad(await check_number(OPTIONS, "call me", api), "expected a phone number with its country")
    assert is_bad(await check_number(OPTIONS, None, api), "not set", "set TWILIO_NUMBER in .env; buy one at")
    assert (await check_number(OPTIONS, NUMBER, None)).state == "note"


@dataclass(frozen=True)
class OnLoopback(Settings):
    """Options whose public URL leads directly to this machine, without TLS."""

    base: str = ""

    def address(self) -> PublicAddress:
        return PublicAddress(self.base)


def on_loopback(base: str) -> OnLoopback:
    port = urlsplit(base).port or 0
    return OnLoopback(
        base=base,
        server=ServerOptions(port=port),
        engine=PARROT,
        reach=ReachOptions(public_url="https://x.com"),
    )


def free_base() -> str:
    with listen("127.0.0.1", 0) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


async def test_a_public_url_of_this_machine() -> None:
    base = free_base()
    assert await check_public_url(on_loopback(base)) == Check(
        "public URL", "ok", f"{base}/healthz leads here"
    )


async def test_a_public_url_of_the_running_server() -> None:
    async with serving(ServerState(ParrotEngine())) as address:
        assert (await check_public_url(on_loopback(f"http://{address}"))).state == "ok"


async def test_a_public_url_of_another_server() -> None:
    async with serving(ServerState(ParrotEngine())) as address:
        elsewhere = replace(on_loopback(f"http://{address}"), server=ServerOptions(port=0))
        bad = await check_public_url(elsewhere)
    assert is_bad(bad, "answers, but it is not this program (HTTP 200)", "to this machine and --port?")


async def test_a_public_url_without_a_server() -> None:
    nowhere = replace(on_loopback(free_base()), server=ServerOptions(port=0))
    assert is_bad(await check_public_url(nowhere), "does not answer", "is the tunnel running")


async def test_a_tunnel_is_opened_for_the_check(
    cloudflared: FakeCloudflared, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def through_the_tunnel(url: str, wanted: str) -> Check:
        assert url == f"{URL}/healthz"
        run = await cloudflared.runs.get()
        return await check_answer(run.argv[run.argv.index("--url") + 1] + "/healthz", wanted)

    check_answer = line._check_answer

    async def at_once(url: str, *, within_secs: float, wanted: str) -> bool:
        assert (url, within_secs, len(wanted)) == (f"{URL}/healthz", 15, 32)
        return True

    monkeypatch.setattr(line, "_check_answer", through_the_tunnel)
    monkeypatch.setattr(line, "reaches", at_once)
    assert (await check_public_url(replace(OPTIONS, reach=ReachOptions(tunnel=True)))).state == "ok"


async def test_a_tunnel_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bad = await check_public_url(replace(OPTIONS, reach=ReachOptions(tunnel=True)))
    assert is_bad(bad, "cloudflared is not installed")


async def test_no_public_url_yet() -> None:
    assert (await check_public_url(OPTIONS)).state == "note"
