"""commands/doctor.py and its checks: each good, each bad, each with its remedy."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from access.public_address import PublicAddress
from commands.checks import line
from commands.checks.check import Check
from commands.checks.line import (
    check_cloudflared,
    check_credentials,
    check_number,
    check_port,
    check_public_url,
)
from commands.checks.machine import (
    check_accelerator,
    check_disk,
    check_listening,
    check_packages,
    check_python,
    check_weights,
)
from commands.main import cli
from engines.options import EngineOptions
from engines.parrot import ParrotEngine
from server.options import ServerOptions
from server.running import listen
from server.settings import Settings
from server.state import ServerState
from telephony.options import ReachOptions, TwilioOptions
from telephony.rest import TwilioApi
from tests.fakes.cloudflared import URL, FakeCloudflared
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, FakeTwilioApi
from tests.phone import serving
from tests.program import account

PARROT = EngineOptions(engine="parrot")
OPTIONS = Settings(ServerOptions(port=0), PARROT, TwilioOptions(), ReachOptions())


@pytest.fixture
async def cloudflared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCloudflared]:
    async with FakeCloudflared(tmp_path, ready_at_once=True) as fake:
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        yield fake


def is_bad(check: Check, found: str, remedy: str = "") -> bool:
    return check.state == "fail" and found in check.found and remedy in check.remedy


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9), (3, 13, 1)])
def test_a_python_that_will_do(version: tuple[int, ...]) -> None:
    assert check_python(version).state == "ok"


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0)])
def test_a_python_that_will_not(version: tuple[int, ...]) -> None:
    assert is_bad(check_python(version), "3.1", "uv run --python 3.12")


def test_packages(tmp_path: Path) -> None:
    assert check_packages().state == "ok"
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["click>=999", "no-such-package", "x; sys_platform == \'none\'"]\n'
    )
    bad = check_packages(project)
    assert is_bad(bad, "wanted >=999; no-such-package is missing", "uv sync")


@pytest.mark.parametrize(
    ("engine", "found", "state"),
    [
        ("parrot", None, "note"),
        ("auto", None, "note"),
        ("auto", "Metal", "ok"),
        ("moshi", "CUDA", "ok"),
        ("moshi", None, "fail"),
    ],
)
def test_the_accelerator(monkeypatch: pytest.MonkeyPatch, engine: str, found: str | None, state: str) -> None:
    monkeypatch.setattr("commands.checks.machine.accelerator", lambda: found)
    check = check_accelerator(EngineOptions(engine=engine))
    assert check.state == state
    assert bool(check.remedy) == (found is None and engine != "parrot")


@pytest.mark.parametrize(("engine", "state"), [("auto", "note"), ("moshi", "fail")])
def test_a_card_that_mlx_does_not_use(monkeypatch: pytest.MonkeyPatch, engine: str, state: str) -> None:
    monkeypatch.setattr("engines.nvidia.nvidia_card", lambda: "NVIDIA H200")
    check = check_accelerator(EngineOptions(engine=engine))
    assert (check.state, check.found) == (state, "NVIDIA H200, which mlx does not use")
    assert "uv sync --extra cuda" in check.remedy


def test_the_parrot_needs_no_weights() -> None:
    assert check_weights(PARROT).state == "note"


def test_moshis_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    missing = check_weights(EngineOptions(engine="moshi"))
    assert is_bad(missing, "not all of them are here", "uv run bot.py download")
    empty = check_weights(EngineOptions(engine="moshi", model=str(tmp_path)))
    assert is_bad(empty, "is missing; put it there, or leave out --model")


def test_the_listening_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_listening: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    listening = EngineOptions(engine="moshi", listen=True)
    assert is_bad(check_listening(listening), "not all here", "uv run bot.py download --listen")
    empty = check_listening(replace(listening, listen_model=str(tmp_path)))
    assert is_bad(empty, "is missing; put it there, or leave out --listen-model")
    assert check_listening(replace(listening, listen_model=str(tiny_listening))).state == "ok"
    assert check_listening(replace(PARROT, listen=True)).state == "note"


def test_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 3_000_000_000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    nowhere = tmp_path / "not" / "yet"
    assert check_disk(PARROT, weights_are_here=True, cache=nowhere).found == f"3 GB free at {tmp_path}"
    full = check_disk(EngineOptions(), weights_are_here=False, cache=nowhere)
    assert is_bad(full, "3 GB free", "free some, or set HF_HOME")


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


async def test_no_cloudflared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert is_bad(await check_cloudflared(OPTIONS), "not installed", "or set PUBLIC_URL")
    with_url = replace(OPTIONS, reach=ReachOptions(public_url="https://a.com"))
    assert (await check_cloudflared(with_url)).state == "note"


async def test_a_cloudflared_that_does_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cloudflared").write_text("not a program")
    (tmp_path / "cloudflared").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert is_bad(await check_cloudflared(OPTIONS), "does not run", "install it again")


async def test_credentials(twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telephony.rest._RETRY_DELAYS_SECS", ())

    async def check(sid: str | None = ACCOUNT_SID, token: str | None = AUTH_TOKEN) -> Check:
        given = replace(OPTIONS, twilio=TwilioOptions(sid, token, twilio.url))
        found, api = await check_credentials(given)
        assert (api is None) == (found.state == "fail")
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
    assert (await check()).state == "note"
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
    """Options whose public URL leads straight to this machine, without TLS."""

    base: str = ""

    def address(self) -> PublicAddress:
        return PublicAddress(self.base)


def on_loopback(base: str) -> OnLoopback:
    port = urlsplit(base).port or 0
    return OnLoopback(
        ServerOptions(port=port),
        PARROT,
        TwilioOptions(),
        ReachOptions(public_url="https://x.com"),
        base=base,
    )


def free_base() -> str:
    with listen("127.0.0.1", 0) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


async def test_a_public_url_that_leads_here() -> None:
    base = free_base()
    assert await check_public_url(on_loopback(base)) == Check(
        "public URL", "ok", f"{base}/healthz leads here"
    )


async def test_a_public_url_that_leads_to_the_server_which_runs() -> None:
    async with serving(ServerState(ParrotEngine())) as address:
        assert (await check_public_url(on_loopback(f"http://{address}"))).state == "ok"


async def test_a_public_url_that_leads_elsewhere() -> None:
    async with serving(ServerState(ParrotEngine())) as address:
        elsewhere = replace(on_loopback(f"http://{address}"), server=ServerOptions(port=0))
        bad = await check_public_url(elsewhere)
    assert is_bad(bad, "answers, but it is not this program (HTTP 200)", "to this machine and --port?")


async def test_a_public_url_that_leads_nowhere() -> None:
    nowhere = replace(on_loopback(free_base()), server=ServerOptions(port=0))
    assert is_bad(await check_public_url(nowhere), "does not answer", "is the tunnel running")


async def test_a_tunnel_is_tried(cloudflared: FakeCloudflared, monkeypatch: pytest.MonkeyPatch) -> None:
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


def doctor(environment: dict[str, str], *arguments: str) -> Result:
    runner = CliRunner(env={**dict.fromkeys(os.environ), **environment})
    return runner.invoke(cli, ["doctor", "--port", "0", *arguments])


NAMES = [
    "python",
    "packages",
    "accelerator",
    "weights",
    "disk",
    "port",
    "cloudflared",
    "credentials",
    "number",
]


def test_all_is_well(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    cloudflared = tmp_path / "cloudflared"
    cloudflared.write_text("#!/bin/sh\necho cloudflared version 2026.1.0\n")
    cloudflared.chmod(0o755)
    result = doctor(account(twilio, cloudflared))
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert [one.split()[1] for one in lines[:9]] == NAMES
    assert all(one.startswith(("ok", "note")) for one in lines[:10])
    assert lines[10:] == ["A call would work."]
    assert NUMBER not in result.stdout
    assert AUTH_TOKEN not in result.stdout


def test_nothing_is_set() -> None:
    result = doctor({"PATH": "/nonexistent", "HOME": "/nonexistent", "MOSHI_ENGINE": "parrot"})
    assert result.exit_code == 1
    assert [one.split()[1] for one in result.stdout.splitlines() if one.startswith("FAIL")] == [
        "cloudflared",
        "credentials",
        "number",
    ]
    assert result.stdout.splitlines()[-1] == "A call would not work yet: see the lines with FAIL."


def test_json(twilio: FakeTwilioApi) -> None:
    result = doctor({**account(twilio), "TWILIO_NUMBER": "+15551234567", "PATH": "/nonexistent"}, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["works"]) == (1, False)
    assert [one["name"] for one in told["checks"]] == [*NAMES, "public URL"]
    number = next(one for one in told["checks"] if one["name"] == "number")
    assert (number["state"], "has no number that ends in 567" in number["found"]) == ("fail", True)


def test_a_public_url_that_is_none() -> None:
    result = doctor({}, "--public-url", "http://a.com")
    assert (result.exit_code, result.stderr.startswith("Error: expected a public URL")) == (2, True)
