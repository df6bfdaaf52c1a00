"""commands/dial.py: refusals, calls answered elsewhere, Ctrl-C. See also tests/test_whole_way.py."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot import run_call
from moshi_phone.access.tokens import StreamTokens
from moshi_phone.commands.dial import _dial_here
from moshi_phone.commands.main import cli
from moshi_phone.engines.options import EngineOptions
from moshi_phone.server.lifecycle import listen
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.dialling import CallPlan
from moshi_phone.telephony.options import ReachOptions, TwilioOptions
from moshi_phone.telephony.rest import PlacedCall
from tests.fakes.cloudflared import URL, FakeCloudflared
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, FakeTwilioApi, Form
from tests.fakes.twilio_voice import FakeTwilioVoice
from tests.support.program import account, program

TO = "+15551234567"
SID = "CA" + "0" * 32
LOUD = bytes([0x10, 0x90] * 80)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moshi_phone.telephony.dialling.POLL_SECS", 0.0)


def dial(environment: dict[str, str], *arguments: str) -> Result:
    quiet = ["--log-level", "error"]
    return CliRunner(env={**dict.fromkeys(os.environ), **environment}).invoke(
        cli, ["dial", *arguments, *quiet], obj=lambda: None
    )


def test_a_call_that_is_answered_elsewhere(twilio: FakeTwilioApi) -> None:
    result = dial(account(twilio), TO, "--url", "wss://phone.example.com", "--ring-secs", "20")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "calling +…567 from +…006",
        "queued",
        "ringing",
        "in progress",
        "completed after 42 s",
    ]
    (form,) = twilio.made("POST", "Calls.json")
    assert (form["To"], form["Timeout"]) == ([TO], ["20"])
    assert "StatusCallback" not in form
    twiml = form["Twiml"][0]
    assert 'url="wss://phone.example.com/stream"' in twiml
    assert ">https://phone.example.com/twiml/next?resumes=0#" in twiml
    token = twiml.partition('value="')[2].partition('"')[0]
    # The other server needs nothing but the same auth token.
    StreamTokens.from_auth_token(AUTH_TOKEN).spend(token, SID, 0)


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
def test_an_unanswered_call(twilio: FakeTwilioApi, status: str) -> None:
    twilio.progress = ["queued", "ringing", status]
    result = dial(account(twilio), TO, "--url", "wss://phone.example.com/stream")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith(status.replace("-", " "))


def test_ctrl_c_hangs_up(twilio: FakeTwilioApi) -> None:
    twilio.progress = ["queued", "in-progress"]
    twilio.on_call = lambda *_: os.kill(os.getpid(), signal.SIGINT)
    result = dial(account(twilio), TO, "--url", "wss://phone.example.com/stream")
    assert "hanging up" in result.stdout
    assert twilio.made("POST", f"Calls/{SID}.json") == [{"Status": ["completed"]}]
    assert twilio.calls[SID]["status"] in ("completed", "canceled")


async def test_closing_the_terminal_hangs_up(twilio: FakeTwilioApi) -> None:
    twilio.progress = ["in-progress"]
    arguments = ("dial", TO, "--url", "wss://phone.example.com/stream")
    async with program(*arguments, environment=account(twilio)) as run:
        await run.says("in progress")
        run.deafen()
        run.signal(signal.SIGHUP)
        assert await run.wait() == 0
    assert twilio.made("POST", f"Calls/{SID}.json") == [{"Status": ["completed"]}]


async def test_ctrl_c_hangs_up_a_call_whose_stream_is_broken(
    twilio: FakeTwilioApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twilio.progress = ["in-progress"]
    loop = asyncio.get_running_loop()
    placed: asyncio.Future[tuple[str, Form]] = loop.create_future()
    twilio.on_call = lambda sid, form: loop.call_soon_threadsafe(placed.set_result, (sid, form))
    monkeypatch.setattr("moshi_phone.telephony.dialling.POLL_SECS", 0.01)
    monkeypatch.setattr("moshi_phone.commands.dial.STREAM_END_SECS", 600)  # nothing waits for that
    made = Settings(
        engine=EngineOptions(engine="parrot"),
        twilio=TwilioOptions(ACCOUNT_SID, AUTH_TOKEN, twilio.url),
        reach=ReachOptions(tunnel_wait_secs=0),
    ).with_public_url()
    plan = CallPlan(TO, NUMBER, "")
    async with FakeCloudflared(tmp_path, ready_at_once=True) as cloudflared:
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        dialling = asyncio.ensure_future(_dial_here(plan, made.rest_api("dial"), made, run_call))
        tunnel = await cloudflared.runs.get()
        sid, form = await placed
        local = tunnel.argv[tunnel.argv.index("--url") + 1].removeprefix("http://")
        voice, twiml = FakeTwilioVoice(URL, local), form["Twiml"][0]
        async with voice.obey(twiml, sid) as (phone, _):
            await phone.say(LOUD, times=4)
            await phone.listen(1)
            phone.socket.transport.abort()
        twiml = await voice.after(twiml, sid)
        async with voice.obey(twiml, sid) as (phone, _):
            await phone.say(LOUD, times=4)
            await phone.listen(1)
            os.kill(os.getpid(), signal.SIGINT)
            assert await phone.closed() == (1000, "the line is shutting down")
        assert await dialling == PlacedCall(sid, "completed", 42)
        assert await tunnel.told() == {"sigterm": True}
    assert {"Status": ["completed"]} in twilio.made("POST", f"Calls/{sid}.json")


async def test_an_answered_call_without_a_stream_is_a_failure(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("moshi_phone.commands.dial.STREAM_SECS", 0.05)
    twilio.progress = ["queued"]
    loop = asyncio.get_running_loop()
    placed: asyncio.Future[tuple[str, Form]] = loop.create_future()
    twilio.on_call = lambda sid, form: loop.call_soon_threadsafe(placed.set_result, (sid, form))
    made = Settings(
        engine=EngineOptions(engine="parrot"),
        twilio=TwilioOptions(ACCOUNT_SID, AUTH_TOKEN, twilio.url),
        reach=ReachOptions(public_url="https://phone.example.com"),
    )
    with listen("127.0.0.1", 0) as listener:
        local = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setattr("moshi_phone.commands.dial._listen", lambda _: listener)
        plan = CallPlan(TO, NUMBER, "")
        dialling = asyncio.ensure_future(_dial_here(plan, made.rest_api("dial"), made, run_call))
        sid, form = await placed
        voice = FakeTwilioVoice("https://phone.example.com", local)
        await voice.tell(form["StatusCallback"][0], sid, CallStatus="in-progress")
        await asyncio.sleep(0.2)
        twilio.calls[sid]["status"] = "completed"
        assert await dialling is None  # exit code 1
    told = capsys.readouterr().out
    assert "no audio has come 0.05 s after the call was answered" in told
    assert "never connected" in told


@pytest.mark.parametrize(
    ("left_out", "arguments", "words"),
    [
        ("", ["5551234567"], "expected a phone number with its country code, such as +15551234567"),
        ("TWILIO_NUMBER", [TO], "Name your Twilio number to call from, with --from or TWILIO_NUMBER."),
        ("TWILIO_AUTH_TOKEN", [TO], "dial needs TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"),
        ("", [TO, "--from", "me"], "--from (TWILIO_NUMBER): expected a phone number with its country code"),
        (
            "",
            [TO, "--url", "ws://a.com/stream"],
            "Expected --url wss://HOST/stream, got 'ws://a.com/stream'.",
        ),
        ("", [TO, "--url", "wss://a.com/stream?x=1"], "Expected --url wss://HOST/stream"),
        ("", [TO, "--url", "wss://[::1/stream"], "Expected --url wss://HOST/stream"),
        (
            "",
            [TO, "--url", "wss://a.com", "--from", "+15550000000"],
            "a number of your Twilio account for --from",
        ),
        ("", [TO, "--url", "wss://a.com", "--auth-token", "0" * 32], "check TWILIO_ACCOUNT_SID and"),
    ],
)
def test_user_errors_are_one_sentence(
    twilio: FakeTwilioApi, left_out: str, arguments: list[str], words: str
) -> None:
    environment = {name: value for name, value in account(twilio).items() if name != left_out}
    result = dial(environment, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_port_in_use_by_another_server(twilio: FakeTwilioApi) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        result = dial(account(twilio), TO, "--public-url", "phone.example.com", "--port", port)
    assert result.exit_code == 2
    assert f"Port {port} is taken" in result.stderr
    assert "let it answer: --url wss://phone.example.com/stream" in result.stderr


def test_a_rate_limit_and_a_server_error(twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moshi_phone.telephony.rest_requests.RETRY_DELAYS_SECS", (0.0, 0.0))
    twilio.fail(429, 20429, "Too Many Requests", times=3, only="POST")
    result = dial(account(twilio), TO, "--url", "wss://a.com")
    assert (result.exit_code, "try again in a minute" in result.stderr) == (2, True)
    twilio.fail(500, only="POST")
    result = dial(account(twilio), TO, "--url", "wss://a.com")
    assert (result.exit_code, "an error of its own (HTTP 500)" in result.stderr) == (2, True)
    assert twilio.calls == {}


def test_the_configured_account_is_used(twilio: FakeTwilioApi) -> None:
    dial(account(twilio), TO, "--url", "wss://a.com")
    assert {one.path.split("/")[3].removesuffix(".json") for one in twilio.requests} == {ACCOUNT_SID}
    assert twilio.made("POST", "Calls.json")[0]["From"] == [NUMBER]
