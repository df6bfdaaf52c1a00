"""Requirements and checks of the commands that the README and docs/ print."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.engines.choose import accelerator
from tests.fakes.cloudflared import Run
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi, fake_twilio_api
from tests.support.clone import Clone, Typed
from tests.support.markdown_blocks import README, blocks
from tests.support.phone import SILENT_PACKET, Phone

TONE_HZ = 1000
LOUD = g711.encode(
    pcm.to_bytes(0.5 * np.sin(2 * np.pi * TONE_HZ / PHONE_RATE_HZ * np.arange(160, dtype=np.float32)))
)
PRINTED_NUMBER = "+15550001111"
# Where mlx finds Metal or CUDA, Moshi would answer, and its weights are not here.
SHORT = {"MOSHI_GREETING_FRAMES": "3"}  # the tests' processor has other things to do
PARROT = {"MOSHI_ENGINE": "parrot"} if accelerator() else {}


@dataclass
class FirstHour:
    """One command, and the fixtures that it may use.

    Attributes:
        command: as printed.
        clone: where it is typed.
        folder: of this test.
        fixture: returns a pytest fixture by its name.
    """

    command: str
    clone: Clone
    folder: Path
    fixture: Callable[[str], Any]

    def types(
        self, environment: Mapping[str, str] = PARROT, *, command: str = "", programs: Sequence[Path] = ()
    ) -> AbstractAsyncContextManager[Typed]:
        """Type the command, or another one."""
        return self.clone.types(command or self.command, environment, programs)

    async def told(self, environment: Mapping[str, str] = PARROT, *, command: str = "", code: int = 0) -> str:
        """Run the command to its end; return its output."""
        async with self.types(environment, command=command) as run:
            assert await run.ends() == code, run.said
            return run.said

    @contextmanager
    def file(self, name: str, text: str) -> Iterator[Path]:
        """Write a file into the clone, and remove it afterwards."""
        path = self.clone.path / name
        path.write_text(text)
        path.chmod(0o600)
        try:
            yield path
        finally:
            path.unlink()

    @contextmanager
    def account(self) -> Iterator[FakeTwilioApi]:
        """Provide a Twilio account, and the README's ``.env`` completed with it."""
        (block,) = [text for _, text in blocks(README) if text.startswith("TWILIO_ACCOUNT_SID")]
        dotenv = block.replace("AC…", ACCOUNT_SID).replace("…", AUTH_TOKEN)
        with fake_twilio_api() as api, self.file(".env", dotenv):
            api.number["phone_number"] = PRINTED_NUMBER
            yield api

    def moshi(self) -> dict[str, str]:
        """Replace an accelerator and five gigabytes by a tiny model with random values."""
        return {"MOSHI_ENGINE": "moshi", "MOSHI_MODEL": str(self.fixture("tiny_checkpoint")), **SHORT}


Case = Callable[[FirstHour], Awaitable[None]]


async def answering(run: Typed) -> str:
    """Wait for the line with its address; return that address."""
    line = await run.says("Answering calls at ws://")
    return line.partition("ws://")[2].partition("/")[0]


async def holds_a_call(address: str, path: str = "/stream") -> bytes:
    """Call, speak for half a second and hang up; return the audio received, which is more than silence."""
    async with Phone.calling(address, path=path) as phone:
        await phone.say(LOUD, times=24)
        heard = await phone.listen(4)
        await phone.send({"event": "stop"})
        code, reason = await phone.closed()
        assert code == 1000, reason
    assert set(heard) - set(SILENT_PACKET)
    return heard


def answers(*said: str, environment: Mapping[str, str] = PARROT) -> Case:
    """Create a case: the command prints this at its start, answers a call, and ends at Ctrl-C."""

    async def case(hour: FirstHour) -> None:
        async with hour.types(environment) as run:
            for words in said:
                await run.says(words)
            await holds_a_call(await answering(run))
            assert await run.ctrl_c() == 0, run.said
            assert "Traceback" not in run.said

    return case


async def page_at(url: str, status: int = 200, password: str = "") -> str:
    """Open a page."""
    login = aiohttp.BasicAuth("me", password) if password else None
    async with aiohttp.ClientSession(auth=login) as http, http.get(url) as answer:
        assert answer.status == status
        return await answer.text()


def local_port(tunnel: Run) -> str:
    """Return the port on this machine that a tunnel leads to."""
    found = re.search(r"--url http://(127\.0\.0\.1:[0-9]+) ", " ".join(tunnel.argv))
    assert found
    return found[1]


def parametrized(cases: dict[str, Case], marks: dict[str, pytest.MarkDecorator]) -> list[Any]:
    """Return the table's rows as ``pytest.mark.parametrize``: slow, unless they have another mark."""
    return [pytest.param(command, marks=marks.get(command, pytest.mark.slow)) for command in cases]
