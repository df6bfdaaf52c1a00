"""The commands in the blocks of docs/*.md, run as they are printed.

A command that is printed and has no row in ``CASES`` fails the first test; those of the README are run by
tests/test_readme_commands.py.
"""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest
import trustme

from moshi_phone.runtime.ports import free_port
from tests.cluster.local_cluster import SMALL_PARROT
from tests.fakes.cloudflared import URL, FakeCloudflared
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import FakeTwilioVoice
from tests.support.clone import Clone
from tests.support.doc_commands import (
    LOUD,
    PARROT,
    SHORT,
    Case,
    FirstHour,
    answers,
    local_port,
    parametrized,
)
from tests.support.markdown_blocks import PAGES, README, commands_in_blocks
from tests.test_readme_commands import CASES as CASES_OF_THE_README
from tests.test_readme_commands import WITHIN as WITHIN_THE_README_S

NOT_RUN = {
    'uv run bot.py --voice NATF2 --persona "You are Anna, at the front desk of a dental practice. '
    'It is open from 8 to 5."': "the README's has another persona, and is run",
    'uv add "moshi-phone @ git+https://…"': "tests/test_wheel.py installs what uv builds of this folder",
    "uv run --extra runner --extra webrtc bot.py runner -t webrtc": "tests/test_bot_transports.py calls it",
    "uv run python -m benchmarks.line --calls 8 --secs 60": "measures for minutes, and wants a quiet machine",
    "uv run --extra ray python -m benchmarks.cluster": "the same",
    "export UV_NO_GROUP=cpu": "tests/test_install.py has uv plan what these two install",
    "uv sync --extra cuda": "the same",
    "uv run --extra ray ray get-auth-token --generate": "writes into the home of whoever runs the tests",
    "uv run --extra ray ray start --head --node-ip-address 10.0.0.1 --port 6379": (
        "a network of machines; tests/cluster/test_ray_nodes.py does it with addresses of the loopback"
    ),
    "uv run --extra ray ray start --address 10.0.0.1:6379": "the same",
    "uv run --extra ray bot.py cluster --ray-address 10.0.0.1:6379 --workers 8 --gpus-per-worker 1 "
    "--host 0.0.0.0 …": "the same",
}


async def puts_a_caller_through(hour: FirstHour) -> None:
    async with FakeCloudflared(hour.folder, ready_at_once=True) as cloudflared:
        with hour.account() as twilio:
            here = {"TWILIO_API_URL": twilio.url, "MOSHI_TUNNEL_WAIT_SECS": "0", **PARROT}
            async with hour.types(here, programs=[cloudflared.path.parent]) as run:
                local = local_port(await cloudflared.runs.get())
                await run.says("rings here now")
                sid = "CA" + "1" * 32
                twilio.put_in_progress(sid)
                voice = FakeTwilioVoice(URL, local)
                async with voice.obey(await voice.call_in(f"{URL}/twiml", sid), sid) as (phone, _):
                    await phone.say(LOUD, times=8)
                    await phone.listen(2)
                    await phone.send({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"digit": "0"}})
                    assert await phone.closed() == (1000, "the call was transferred to a person")
                assert await run.ctrl_c() == 0, run.said
            (form,) = twilio.made("POST", f"Calls/{sid}.json")
    assert "<Dial" in form["Twiml"][0]
    assert "+15559990000" in form["Twiml"][0]


async def writes_a_tiny_model_that_answers(hour: FirstHour) -> None:
    """Run the two lines of the block in order."""
    await hour.told({}, command="uv run python -m tests.support.tiny_moshi tiny")
    await answers("Engine: moshi, on ", environment=SHORT)(hour)


async def finds_no_server(hour: FirstHour) -> None:
    """No machine has these names here; tests/test_servers_elsewhere.py covers answered calls."""
    own = trustme.CA()
    own.cert_pem.write_to_path(str(hour.clone.path / "gpu-2.pem"))
    told = await hour.told({}, code=2)
    names = [word.removeprefix("ws://").removeprefix("wss://") for word in shlex.split(hour.command)]
    for name in (word.partition("#")[0] for word in names if word.startswith("gpu-") and ":" in word):
        # Once in the log; where it is the only one, or the last one tried, the error repeats it.
        assert f" Server {name} cannot be reached (" in told or told.startswith(f"Server {name} cannot")
        assert f": Server {name}" not in told.replace(f"Error: Server {name}", "")
    assert told.endswith(" Start a server, or correct --server.\n")


async def has_a_model_that_thinks(hour: FirstHour) -> None:
    """No server listens at port 11434: the call continues without it."""
    here = {**hour.moshi(), "MOSHI_LISTEN_MODEL": str(hour.fixture("tiny_listening"))}
    await answers("Engine: moshi, on ", environment=here)(hour)


async def runs_a_cluster(hour: FirstHour) -> None:
    """Run all four commands of docs/cluster.md for one machine in order."""
    ports = {"MOSHI_PORT": free_port(), "MOSHI_CONTROL_PORT": free_port(), "MOSHI_WORKER_PORT": free_port()}
    here = {"MOSHI_ENGINE": SMALL_PARROT, "MOSHI_TUNNEL_WAIT_SECS": "0", "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
    here |= {name: str(port) for name, port in ports.items()}
    cluster = "uv run --extra ray bot.py cluster"
    async with (
        FakeCloudflared(hour.folder, ready_at_once=True) as cloudflared,
        hour.types(here, programs=[cloudflared.path.parent]) as run,
    ):
        await asyncio.wait_for(run.says("3 workers take calls"), 120)
        for command, number in ((None, 3), ("scale 5", 5), ("update", 5)):
            if command:
                await hour.told(here, command=f"{cluster} {command}")
            told = ""
            while ", all ready." not in told:
                told = await hour.told(here, command=f"{cluster} status")
            assert told.startswith(f"{number} workers requested, all ready.")
        assert "\nw6  ready" in told  # the first new one
        assert await run.ctrl_c() == 0, run.said


CALLS = "uv run bot.py calls --calls-db calls.db"


async def keeps_its_calls(hour: FirstHour) -> None:
    """Run the two commands of docs/history.md in order."""
    await answers()(hour)
    assert " answered " in await hour.told(command=CALLS)


CASES: dict[str, Case] = {
    "uv run bot.py --calls-db calls.db --record recordings --transcripts transcripts --keep-days 90": (
        keeps_its_calls
    ),
    "uv run bot.py --tunnel --transfer-to +15559990000 --transfer-key 0": puts_a_caller_through,
    "uv run --extra ray bot.py cluster --workers 3 --tunnel": runs_a_cluster,
    "uv run bot.py --engine moshi --model tiny": writes_a_tiny_model_that_answers,
    "uv run bot.py --server ws://gpu-1:8998 --server wss://gpu-2:8998#rust --server-ca gpu-2.pem": (
        finds_no_server
    ),
    'uv run bot.py --server ws://gpu-3:8998#personaplex --persona "You are Anna, at the desk of a library." '
    "--voice NATF2": finds_no_server,
    "uv run bot.py bench --engine remote --server ws://gpu-1:8998": finds_no_server,
    "DELEGATE_BASE_URL=http://localhost:11434/v1 DELEGATE_MODEL=qwen3 "
    "uv run bot.py --engine moshi --listen --pipeline examples.delegate:phone_call_with_delegate": (
        has_a_model_that_thinks
    ),
}
WITHIN = {
    CALLS,  # run by the case of another command
    "uv run --extra ray bot.py cluster status",
    "uv run --extra ray bot.py cluster scale 5",
    "uv run --extra ray bot.py cluster update",
    "uv run python -m tests.support.tiny_moshi tiny",
}
MARKS = {"uv run --extra ray bot.py cluster --workers 3 --tunnel": pytest.mark.cluster}


def test_every_command_in_a_block_has_a_case_and_every_case_is_printed() -> None:
    printed = {command for page in PAGES if page != README for command in commands_in_blocks(page)}
    printed -= CASES_OF_THE_README.keys() | WITHIN_THE_README_S
    assert printed == CASES.keys() | NOT_RUN.keys() | WITHIN


@pytest.mark.parametrize("command", parametrized(CASES, MARKS))
async def test_a_command_of_docs(
    command: str, clone: Clone, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await CASES[command](FirstHour(command, clone, tmp_path, request.getfixturevalue))
