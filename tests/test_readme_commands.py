"""Each command that README.md prints is run as it is printed, and does what is promised there.

A command that is printed and has no row in ``CASES`` fails the first test. What a row's case puts in place of
something that a test cannot have (an account, a tunnel, an accelerator, weights) comes by the environment, by
``.env`` or by files, so that the command stays as it is.
"""

from __future__ import annotations

import asyncio
import json
import re
import zipfile
from pathlib import Path

import click
import pytest

from commands.serve import serve
from engines.moshi.language_model import Quantization
from runtime.ports import free_port
from tests.clone import Clone
from tests.cluster.local_cluster import SMALL_PARROT
from tests.fakes.cloudflared import URL, FakeCloudflared
from tests.fakes.hub import FakeHub
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice
from tests.first_hour import (
    LOUD,
    PARROT,
    PRINTED_NUMBER,
    Case,
    FirstHour,
    answering,
    answers,
    holds_a_call,
    local_port,
    page_at,
    parametrized,
)
from tests.printed import README, blocks, commands_in_blocks, commands_in_text, names_in_text
from tests.tiny_moshi import write_tiny_checkpoint

NOT_RUN = {
    "git clone": "benchmarks/first_call.py does it; a command only with the repository's address",
    "brew install uv": "Homebrew's, on a Mac",
    "pipx install uv": "pipx's, from the network",
    "brew install cloudflared": "Homebrew's, on a Mac",
}


async def talks_in_a_browser(hour: FirstHour) -> None:
    async with hour.types(**PARROT) as run:
        address = await answering(run)
        page_url = (await run.says("Talk to it: ")).partition("Talk to it: ")[2].strip()
        assert page_url == f"http://localhost:{address.rpartition(':')[2]}"
        assert ">Call</" in await page_at(page_url)
        await holds_a_call(address)
        assert await run.ctrl_c() == 0, run.said
    assert "Engine: parrot, " in run.said


async def collects_its_tests(hour: FirstHour) -> None:
    """It cannot run within itself: that it finds all tests and starts is as far as it goes."""
    told = await hour.told(f"{hour.command} --collect-only")
    assert "tests/test_readme_commands.py" in told
    assert int(re.findall(r"(\d+)/\d+ tests collected", told)[-1]) > 1000


async def is_whole_bash(hour: FirstHour) -> None:
    """It cannot run within itself either."""
    await hour.told(f"bash -n {hour.command} && test -x {hour.command}")


async def installs_uv(hour: FirstHour) -> None:
    """A wheel of our own stands in for uv's, which comes from the network."""
    with zipfile.ZipFile(hour.folder / "uv-0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("uv-0.data/scripts/uv", "#!python\nprint('uv, a stand-in')\n")
        wheel.writestr("uv-0.dist-info/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 0\n")
        wheel.writestr(
            "uv-0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("uv-0.dist-info/RECORD", "")
    here = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(hour.folder), "PIP_CONFIG_FILE": "/dev/null"}
    told = await hour.told(f"{hour.command} && hash -r && type -p uv && uv --version", **here)
    assert told.splitlines()[-2:] == [f"{hour.clone.home}/.uv/bin/uv", "uv, a stand-in"]


async def finds_everything(hour: FirstHour) -> None:
    async with FakeCloudflared(hour.folder) as cloudflared:
        with hour.account() as twilio:
            here = {"TWILIO_API_URL": twilio.url, **PARROT}
            async with hour.types(programs=[cloudflared.path.parent], **here) as run:
                assert await run.ends() == 0, run.said
    lines = run.said.splitlines()
    assert "ok    credentials  a full account" in lines
    assert "ok    number       goes to nowhere now; it will ring here while this program runs" in lines
    assert lines[-1] == "A call would work."


async def rings(hour: FirstHour) -> None:
    """The log has the lines that the README prints; a call comes in; the number goes back."""
    (printed,) = [text for language, text in blocks(README) if language == "console"]
    expected = [line[20:] for line in printed.splitlines() if line.startswith("20")]
    assert len(expected) == 3
    async with FakeCloudflared(hour.folder, ready_at_once=True) as cloudflared:
        with hour.account() as twilio:
            here = {"TWILIO_API_URL": twilio.url, "MOSHI_TUNNEL_WAIT_SECS": "0", **PARROT}
            async with hour.types(programs=[cloudflared.path.parent], **here) as run:
                tunnel = await cloudflared.runs.get()
                local = local_port(tunnel)
                for line in expected:
                    said = await run.says(line[8:].replace("127.0.0.1:5001", local))
                    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO    .*\n", said)
                assert twilio.number["voice_url"] == f"{URL}/twiml"
                voice = FakeTwilioVoice(URL, local)
                sid = "CA" + "1" * 32
                async with voice.obey(await voice.call_in(f"{URL}/twiml", sid), sid) as (phone, _):
                    await phone.say(LOUD, times=8)
                    await phone.listen(2)
                assert await run.ctrl_c() == 0, run.said
            assert not twilio.number["voice_url"]


async def calls_somebody(hour: FirstHour) -> None:
    async with FakeCloudflared(hour.folder, ready_at_once=True) as cloudflared:
        with hour.account() as twilio:
            loop = asyncio.get_running_loop()
            placed = loop.create_future()
            twilio.on_call = lambda sid, form: loop.call_soon_threadsafe(placed.set_result, (sid, form))
            twilio.progress = ["in-progress"]
            here = {"TWILIO_API_URL": twilio.url, "MOSHI_TUNNEL_WAIT_SECS": "0", **PARROT}
            async with hour.types(programs=[cloudflared.path.parent], **here) as run:
                tunnel = await cloudflared.runs.get()
                sid, form = await placed
                assert (form["To"], form["From"]) == ([CALLER], [PRINTED_NUMBER])
                voice = FakeTwilioVoice(URL, local_port(tunnel))
                async with voice.obey(form["Twiml"][0], sid) as (phone, _):
                    await phone.say(LOUD, times=8)
                    await phone.listen(2)
                    twilio.calls[sid]["status"] = "completed"
                    await phone.send({"event": "stop"})
                    await phone.closed()
                assert await run.ends() == 0, run.said
    assert "calling +…567 from +…111\n" in run.said
    assert run.said.endswith("completed after 42 s\n")


async def fetches_and_measures(hour: FirstHour) -> None:
    """``download`` and then ``bench``, as they stand under each other.

    A tiny model of the hub's stands in for Kyutai's, whose sizes are known and would be missed.
    """
    repo = "somebody/moshi-tiny"
    checkpoint = write_tiny_checkpoint(
        hour.folder / "hub", quantization=Quantization(4, 32), mimi=hour.fixture("mimi_file")
    )
    with FakeHub(repo, checkpoint) as hub, hour.file("short.toml", "frames = 25\n"):
        here = {
            "MOSHI_MODEL": repo,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(hour.folder / "cache"),
            "MOSHI_CONFIG": "short.toml",
        }
        told = await hour.told("uv run bot.py download", **here)
        assert re.search(r"/model\.q4\.safetensors: [\d.]+ MB, whole\n", told), told
        fetched = len(hub.requests)
        async with hour.types("uv run bot.py bench", **here) as run:
            code = await run.ends()
        assert len(hub.requests) == fetched  # never twice
    assert "random" not in run.said
    assert re.search(r"^Verdict: (holds|does not hold) real time", run.said, re.MULTILINE), run.said
    assert code == (0 if "Verdict: holds" in run.said else 1)


async def has_moshi_answer(hour: FirstHour) -> None:
    here = hour.moshi()
    del here["MOSHI_ENGINE"]
    await answers("Engine: moshi, on ", **here)(hour)


async def has_a_persona_answer(hour: FirstHour) -> None:
    here = {"MOSHI_ENGINE": "moshi", "MOSHI_MODEL": str(hour.fixture("tiny_personaplex"))}
    await answers("Engine: ", **here)(hour)


async def hears_the_caller_s_words(hour: FirstHour) -> None:
    here = {**hour.moshi(), "MOSHI_LISTEN_MODEL": str(hour.fixture("tiny_listening"))}
    await answers("Engine: moshi, ", **here)(hour)


async def looks_for_the_server(hour: FirstHour) -> None:
    """There is no machine of that name here, and the program says so.

    That calls are answered by servers elsewhere is shown in tests/test_servers_elsewhere.py.
    """
    told = await hour.told(code=2)
    assert told.splitlines()[-1].startswith("Error: Server gpu-1:8998 cannot be reached (")
    assert told.endswith("). Start a server, or correct --server.\n")


async def answers_for_pipecats_runner(hour: FirstHour) -> None:
    """Its port, 7860, cannot be chosen but on the command line."""
    async with hour.types(**PARROT) as run:
        await run.says("WebSocket:   ws://localhost:7860/ws")
        await holds_a_call("localhost:7860", "/ws")
        await run.ctrl_c()
    assert "Traceback" not in run.said


async def hears_themselves(hour: FirstHour) -> None:
    async with hour.types(**PARROT) as run:
        heard = await holds_a_call(await answering(run))
        assert await run.ctrl_c() == 0, run.said
    assert LOUD * 8 in heard


async def runs_a_pipeline_of_ones_own(hour: FirstHour) -> None:
    """With the README's stage, behind ``MoshiProcessor``, in a file of the folder."""
    code = "\n\n".join(text for language, text in blocks(README) if language == "python")
    code += """

from pipelines.phone_call import phone_call
from processors.moshi import MoshiProcessor
from pipecat.pipeline.pipeline import Pipeline


def FUNCTION(**offered):
    stages = list(phone_call(**offered).processors[1:-1])
    behind = next(n for n, stage in enumerate(stages) if isinstance(stage, MoshiProcessor)) + 1
    return Pipeline([*stages[:behind], HalfVolume(), *stages[behind:]])
"""
    with hour.file("MODULE.py", code):
        await answers(**PARROT)(hour)


async def takes_settings_from_a_file(hour: FirstHour) -> None:
    with hour.file("FILE.toml", 'engine = "parrot"\nparrot-delay = 0.25\n'):
        await answers("The parrot repeats the caller after 0.25 s.")(hour)


async def wants_a_password_for_the_page(hour: FirstHour) -> None:
    """In public it needs ``--web`` and ``MOSHI_WEB_PASSWORD``."""
    public = {"PUBLIC_URL": "https://phone.example.com", "TWILIO_AUTH_TOKEN": AUTH_TOKEN, **PARROT}
    async with hour.types(**public) as run:
        assert await run.ends() == 2, run.said
    assert "MOSHI_WEB_PASSWORD" in run.said
    async with hour.types(**public, MOSHI_WEB_PASSWORD="eight letters") as run:
        url = f"http://{await answering(run)}/"
        await page_at(url, 401)
        assert ">Call</" in await page_at(url, password="eight letters")
        assert await run.ctrl_c() == 0, run.said


async def tells_the_options(hour: FirstHour) -> None:
    told = await hour.told()
    for words in (
        "--engine [auto|moshi|parrot|remote|MODULE:CLASS]",
        "--tunnel",
        "--record",
        "--config FILE",
    ):
        assert words in told


async def rehearses(hour: FirstHour) -> None:
    report = hour.clone.path / "report"
    async with hour.types(REHEARSE_SECS="6", **PARROT) as run:
        code = await run.ends()
    assert code in (0, 1), run.said  # 1: this machine is too slow just now
    assert "Line quality" in run.said
    names = {"call.wav", "call.png", "report.json", "transcript.txt"}
    assert names <= {path.name for path in report.iterdir()}
    points = json.loads((report / "report.json").read_text())["points"]
    by_speed = {"first_audio", "delay", "drift", "gaps", "keeps_up"}
    assert {point["key"] for point in points if point["passed"] is False} <= by_speed


async def takes_pictures(hour: FirstHour) -> None:
    pictures = sorted((hour.clone.path / "docs").glob("phone-*.png"))
    assert len(pictures) == 4
    for picture in pictures:
        picture.unlink()
    await hour.told(XDG_CONFIG_HOME=str(hour.folder), **PARROT)
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")


async def answers_with_three_servers(hour: FirstHour) -> None:
    ports = {"MOSHI_PORT": free_port(), "MOSHI_CONTROL_PORT": free_port(), "MOSHI_WORKER_PORT": free_port()}
    own = {"MOSHI_ENGINE": SMALL_PARROT, "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
    async with hour.types(**own, **{name: str(port) for name, port in ports.items()}) as run:
        await asyncio.wait_for(run.says("3 workers take calls"), 120)
        assert ">Call</" in await page_at(f"http://localhost:{ports['MOSHI_PORT']}")
        assert await run.ctrl_c() == 0, run.said


CASES: dict[str, Case] = {
    "uv run bot.py": talks_in_a_browser,
    "uv run pytest": collects_its_tests,
    'python3 -m venv ~/.uv && ~/.uv/bin/pip install uv && export PATH="$HOME/.uv/bin:$PATH"': installs_uv,
    "uv run bot.py --engine moshi": has_moshi_answer,
    "uv run bot.py --engine parrot": answers("Engine: parrot, as asked."),
    "uv run bot.py serve --help": tells_the_options,
    "uv run bot.py --web": wants_a_password_for_the_page,
    "uv run python -m docs.pictures": takes_pictures,
    "uv run bot.py doctor": finds_everything,
    "uv run bot.py --tunnel": rings,
    "uv run bot.py dial +15551234567": calls_somebody,
    "uv run bot.py download": fetches_and_measures,
    "uv run bot.py bench": fetches_and_measures,
    'uv run bot.py --persona "You are Anna, at the desk of a library." --voice NATF2': has_a_persona_answer,
    "uv run bot.py --server ws://gpu-1:8998": looks_for_the_server,
    "uv run bot.py --listen": hears_the_caller_s_words,
    "uv run --extra runner python -m pipecat.runner.run -t twilio -x your-name.ngrok.app": (
        answers_for_pipecats_runner
    ),
    "uv run bot.py --pipeline pipelines.line_mirror:line_mirror": hears_themselves,
    "uv run bot.py --pipeline MODULE:FUNCTION": runs_a_pipeline_of_ones_own,
    "uv run bot.py --engine examples.tone_engine:ToneEngine": answers("The tone sounds."),
    "uv run bot.py rehearse": rehearses,
    "uv run --extra ray bot.py cluster --workers 3": answers_with_three_servers,
    "uv run bot.py --config FILE.toml": takes_settings_from_a_file,
    ".ci/run": is_whole_bash,
}
MARKS = {
    "uv run python -m docs.pictures": pytest.mark.browser,
    "uv run --extra ray bot.py cluster --workers 3": pytest.mark.cluster,
}


def test_every_command_of_the_readme_has_a_case_and_every_case_is_printed() -> None:
    flags = {option.opts[0] for option in serve.params if isinstance(option, click.Option) and option.is_flag}
    printed = {*commands_in_blocks(README), *commands_in_text(README)}
    printed |= {f"uv run bot.py {name}" for name in flags & set(names_in_text(README))}
    assert printed - NOT_RUN.keys() == CASES.keys()
    assert NOT_RUN.keys() <= printed


@pytest.mark.parametrize("command", parametrized(CASES, MARKS))
async def test_a_command_of_the_readme(
    command: str, clone: Clone, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await CASES[command](FirstHour(command, clone, tmp_path, request.getfixturevalue))
