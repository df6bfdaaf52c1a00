"""How each command that README.md prints is run as printed, and what it must show.

A case replaces what a test cannot have (an account, a tunnel, an accelerator, weights) through the
environment, ``.env`` or files, so that the command itself is unchanged.
"""

from __future__ import annotations

import asyncio
import json
import re
import zipfile

import numpy as np
import pytest

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.engines.moshi.model.quantized_model import Quantization
from moshi_phone.runtime.ports import free_port
from tests.cluster.local_cluster import SMALL_PARROT
from tests.fakes.cloudflared import URL, FakeCloudflared
from tests.fakes.hub import FakeHub
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice
from tests.support.doc_commands import (
    LOUD,
    PARROT,
    PRINTED_NUMBER,
    SHORT,
    TONE_HZ,
    FirstHour,
    answering,
    answers,
    holds_a_call,
    local_port,
    page_at,
)
from tests.support.markdown_blocks import README, ROOT, blocks
from tests.support.tiny_moshi import write_tiny_checkpoint

NUMBER_PAGE = ROOT / "docs" / "number.md"


async def talks_in_a_browser(hour: FirstHour) -> None:
    async with hour.types() as run:
        address = await answering(run)
        page_url = (await run.says("Talk to it: ")).partition("Talk to it: ")[2].strip()
        assert page_url == f"http://localhost:{address.rpartition(':')[2]}"
        assert ">Call</" in await page_at(page_url)
        await holds_a_call(address)
        assert await run.ctrl_c() == 0, run.said
    assert "Engine: parrot, " in run.said


async def collects_its_tests(hour: FirstHour) -> None:
    """It cannot run within itself: the check ends when it has started and found tests."""
    told = await hour.told(command=f"{hour.command} --collect-only tests/runtime tests/test_readme.py")
    assert "tests/test_readme.py" in told
    assert int(re.findall(r"(\d+)(?:/\d+)? tests collected", told)[-1]) > 50


async def is_whole_bash(hour: FirstHour) -> None:  # it cannot run within itself either
    await hour.told(command=f"bash -n {hour.command} && test -x {hour.command}")


async def installs_uv(hour: FirstHour) -> None:
    """Our own wheel replaces uv's, which would come from the network."""
    with zipfile.ZipFile(hour.folder / "uv-0-py3-none-any.whl", "w") as wheel:
        script = zipfile.ZipInfo("uv-0.data/scripts/uv")
        script.external_attr = 0o100755 << 16  # a file that can be run
        wheel.writestr(script, "#!python\nprint('uv, a stand-in')\n")
        wheel.writestr("uv-0.dist-info/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 0\n")
        wheel.writestr(
            "uv-0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("uv-0.dist-info/RECORD", "")
    here = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(hour.folder), "PIP_CONFIG_FILE": "/dev/null"}
    told = await hour.told(here, command=f"{hour.command} && hash -r && type -p uv && uv --version")
    assert told.splitlines()[-2:] == [f"{hour.clone.home}/.uv/bin/uv", "uv, a stand-in"]


async def finds_everything(hour: FirstHour) -> None:
    async with FakeCloudflared(hour.folder) as cloudflared:
        with hour.account() as twilio:
            here = {"TWILIO_API_URL": twilio.url, **PARROT}
            async with hour.types(here, programs=[cloudflared.path.parent]) as run:
                assert await run.ends() == 0, run.said
    lines = run.said.splitlines()
    assert "ok    credentials  a full account" in lines
    assert "ok    number       goes to nowhere now; it will ring here while this program runs" in lines
    assert lines[-1] == "A call would work."
    # docs/number.md prints its output on a Mac, line by line.
    (printed,) = [text for language, text in blocks(NUMBER_PAGE) if "bot.py doctor" in text]
    assert [line[6:19] for line in lines[:-1]] == [line[9:22] for line in printed.splitlines()[1:-1]]


async def rings(hour: FirstHour) -> None:
    """The log has the lines that the README prints; a call arrives; the number is restored."""
    (printed,) = [text for language, text in blocks(README) if language == "console"]
    expected = [line[20:] for line in printed.splitlines() if line.startswith("20")]
    assert len(expected) == 3
    # docs/number.md prints some lines more; the first of them names the engine of a Mac.
    (more,) = [text for language, text in blocks(NUMBER_PAGE) if "bot.py --tunnel" in text]
    in_full = [line[20:] for line in more.splitlines() if line.startswith("20")][1:]
    assert [line for line in in_full if line in expected] == expected
    async with FakeCloudflared(hour.folder, ready_at_once=True) as cloudflared:
        with hour.account() as twilio:
            here = {"TWILIO_API_URL": twilio.url, "MOSHI_TUNNEL_WAIT_SECS": "0", **PARROT}
            async with hour.types(here, programs=[cloudflared.path.parent]) as run:
                tunnel = await cloudflared.runs.get()
                local = local_port(tunnel)
                for line in in_full:
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
            async with hour.types(here, programs=[cloudflared.path.parent]) as run:
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
    """``download``, and the ``bench`` below it, which uses the downloaded files.

    A tiny model on a local hub replaces Kyutai's, whose known sizes are not checked.
    """
    repo = "somebody/moshi-tiny"
    checkpoint = write_tiny_checkpoint(
        hour.folder / "hub", quantization=Quantization(4, 32), mimi=hour.fixture("mimi_file")
    )
    with FakeHub(repo, checkpoint) as hub, hour.file("short.toml", "frames = 8\n"):
        here = {
            "MOSHI_MODEL": repo,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(hour.folder / "cache"),
            "MOSHI_CONFIG": "short.toml",
        }
        told = await hour.told(here, command="uv run bot.py download")
        assert re.search(r"/model\.q4\.safetensors: [\d.]+ MB, whole\n", told), told
        fetched = len(hub.requests)
        async with hour.types(here) as run:
            code = await run.ends()
        assert "random" not in run.said
        assert re.search(r"^Verdict: (keeps up|does not keep up) with", run.said, re.MULTILINE), run.said
        assert code == (0 if "Verdict: keeps up" in run.said else 1)
        assert len(hub.requests) == fetched  # never twice


async def has_moshi_answer(hour: FirstHour) -> None:
    here = hour.moshi()
    del here["MOSHI_ENGINE"]
    await answers("Engine: moshi, on ", environment=here)(hour)


async def has_a_persona_answer(hour: FirstHour) -> None:
    tiny = {"MOSHI_MODEL": str(hour.fixture("tiny_personaplex")), "MOSHI_QUANTIZE": "none", **SHORT}
    await answers("Engine: moshi, ", environment={"MOSHI_ENGINE": "moshi", **tiny})(hour)


async def hears_the_caller_s_words(hour: FirstHour) -> None:
    here = {**hour.moshi(), "MOSHI_LISTEN_MODEL": str(hour.fixture("tiny_listening"))}
    await answers("Engine: moshi, ", environment=here)(hour)


async def looks_for_the_server(hour: FirstHour) -> None:
    """No machine of that name exists here, and the program reports it.

    tests/test_servers_elsewhere.py covers calls answered by remote servers.
    """
    told = await hour.told(code=2)
    assert told.splitlines()[-1].startswith("Error: Server gpu-1:8998 cannot be reached (")
    assert told.endswith("). Start a server, or correct --server.\n")


async def answers_for_pipecats_runner(hour: FirstHour) -> None:
    async with hour.types() as run:
        await run.says("Uvicorn running on http://localhost:7860")  # chosen on the command line only
        await holds_a_call("localhost:7860", "/ws")
        await run.ctrl_c()
    assert "Traceback" not in run.said


async def hears_themselves(hour: FirstHour) -> None:
    async with hour.types() as run:
        heard = await holds_a_call(await answering(run))
        assert await run.ctrl_c() == 0, run.said
    spectrum = np.abs(np.fft.rfft(pcm.to_float(g711.decode(heard))))
    assert np.argmax(spectrum) * PHONE_RATE_HZ / len(heard) == pytest.approx(TONE_HZ, abs=5)


async def runs_a_pipeline_of_ones_own(hour: FirstHour) -> None:  # with the README's stage in it
    code = "\n\n".join(text for language, text in blocks(README) if language == "python")
    code += """

from pipelines.phone_call import phone_call
from processors.moshi import MoshiProcessor
from pipecat.pipeline.pipeline import Pipeline


def FUNCTION(parts):
    stages = list(phone_call(parts).processors[1:-1])
    behind = next(n for n, stage in enumerate(stages) if isinstance(stage, MoshiProcessor)) + 1
    return Pipeline([*stages[:behind], HalfVolume(), *stages[behind:]])
"""
    with hour.file("MODULE.py", code):
        await answers()(hour)


async def takes_settings_from_a_file(hour: FirstHour) -> None:
    with hour.file("FILE.toml", 'engine = "parrot"\nparrot-delay = 0.25\n'):
        await answers("The parrot repeats the caller after 0.25 s.")(hour)


async def wants_a_password_for_the_page(hour: FirstHour) -> None:
    """A public server needs ``--web`` and ``MOSHI_WEB_PASSWORD``."""
    public = {"PUBLIC_URL": "https://phone.example.com", "TWILIO_AUTH_TOKEN": AUTH_TOKEN, **PARROT}
    async with hour.types(public) as run:
        assert await run.ends() == 2, run.said
    assert "MOSHI_WEB_PASSWORD" in run.said
    async with hour.types({**public, "MOSHI_WEB_PASSWORD": "eight letters"}) as run:
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
    async with hour.types({"REHEARSE_SECS": "6", **PARROT}) as run:
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
    await hour.told({"XDG_CONFIG_HOME": str(hour.folder), **PARROT})
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")


async def answers_with_three_servers(hour: FirstHour) -> None:
    ports = {"MOSHI_PORT": free_port(), "MOSHI_CONTROL_PORT": free_port(), "MOSHI_WORKER_PORT": free_port()}
    own = {"MOSHI_ENGINE": SMALL_PARROT, "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
    async with hour.types(own | {name: str(port) for name, port in ports.items()}) as run:
        await asyncio.wait_for(run.says("3 workers take calls"), 120)
        assert ">Call</" in await page_at(f"http://localhost:{ports['MOSHI_PORT']}")
        assert await run.ctrl_c() == 0, run.said
