"""Hundreds of calls to the real program over real sockets, ended in every way: no resources are left.

``uv run pytest -m slow tests/test_soak.py`` takes a minute or so on a quiet machine.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from moshi_phone.access.tokens import PARAMETER, StreamTokens
from tests.fakes.twilio_api import AUTH_TOKEN, FakeTwilioApi
from tests.support.phone import Phone, start_message
from tests.support.program import Program, account, program
from tests.support.raw_socket import raw_socket, text

pytestmark = pytest.mark.slow
LOUD = bytes([0x10, 0x90] * 80)
MB = 1_000_000


@dataclass(frozen=True)
class Held:
    """The program's resources.

    Attributes:
        sessions: as ``/healthz`` says it.
        files: open ones and sockets, but for those to Twilio's API, which are kept for the next request.
        threads: of the process.
        rss_bytes: resident memory.
    """

    sessions: int
    files: int
    threads: int
    rss_bytes: int


class Soak:
    """A running program and its callers.

    Args:
        run: the program.
        address: its ``HOST:PORT``.
        twilio: the API that it hangs up by.
        frames: how many a call has at most.
    """

    def __init__(self, run: Program, address: str, twilio: FakeTwilioApi, frames: int) -> None:
        self.address = address
        self.ended: Counter[str] = Counter()
        self._process = psutil.Process(run.pid)
        self._twilio = twilio
        self._tokens = StreamTokens.from_auth_token(AUTH_TOKEN)
        self._frames = frames
        self._calls = 0

    async def held(self) -> Held:
        """Measure the program from outside."""
        async with httpx.AsyncClient(base_url=f"http://{self.address}") as client:
            health = (await client.get("/healthz", headers={"Connection": "close"})).json()
        api_port = int(self._twilio.url.rpartition(":")[2])
        to_api = [one for one in self._process.net_connections() if one.raddr and one.raddr.port == api_port]
        return Held(
            health["sessions"] + health["calls"],
            self._process.num_fds() - len(to_api),
            self._process.num_threads(),
            self._process.memory_info().rss,
        )

    async def settled(self, before: Held) -> Held:
        """Measure until no more is held than before; recently closed resources may take a moment."""
        for _ in range(300):
            held = await self.held()
            if held.sessions == 0 and held.files <= before.files and held.threads <= before.threads:
                break
            await asyncio.sleep(0.1)
        return held

    async def call_often(self, count: int, at_once: int, seed: int) -> None:
        """Make several calls, each ended in a way chosen by the seed."""
        dice = random.Random(seed)
        backends = asyncio.Semaphore(at_once)

        async def call(way: Callable[[Phone, int], Awaitable[None]], frames: int) -> None:
            async with backends:
                await self._call(way, frames)
                self.ended[way.__name__] += 1

        ways = [hang_up, hang_up, press_the_key, close, kill, kill_at_once, start_again, babble, forge]
        calls = [call(dice.choice(ways), dice.randint(1, self._frames)) for _ in range(count)]
        await asyncio.gather(*calls, *(self.deaf() for _ in range(count // 50)))

    async def _call(self, way: Callable[[Phone, int], Awaitable[None]], frames: int) -> None:
        while True:
            start = self._start(forged=way is forge)
            async with asyncio.timeout(120), Phone.calling(self.address, start) as phone:
                with suppress(ConnectionClosed):
                    await way(phone, frames)
                    return
            # Every session is taken, or a codec is still being cleaned for the next call.
            assert phone.socket.close_code == 1013, (way.__name__, phone.socket.close_reason)
            await asyncio.sleep(0.1)

    async def deaf(self) -> None:
        """Call, and never read."""
        async with raw_socket(self.address) as peer:
            await peer.upgrade()
            await peer.send(text(self._start()))
            media = text({"event": "media", "media": {"payload": "AAAA" * 160}}) * 10
            with suppress(ConnectionError):
                while True:
                    await peer.send(media, within_secs=60)
                    await asyncio.sleep(0.005)
        self.ended["deaf"] += 1

    def _start(self, *, forged: bool = False) -> dict[str, object]:
        self._calls += 1
        call_sid = f"CA{self._calls:032x}"
        token = self._tokens.mint(call_sid, time.time())
        return start_message(
            f"MZ{self._calls:032x}", {PARAMETER: token[::-1] if forged else token}, call_sid=call_sid
        )


async def talk(phone: Phone, frames: int) -> None:
    for _ in range(frames):
        await phone.say(LOUD, times=4)
        await phone.listen(frames=1)


async def hang_up(phone: Phone, frames: int) -> None:
    """Hang up as Twilio does."""
    await talk(phone, frames)
    await phone.send({"event": "stop"})
    assert (await phone.closed())[1] == "the caller hung up"


async def press_the_key(phone: Phone, frames: int) -> None:
    """Have our side hang up, which also uses the REST API."""
    await talk(phone, frames)
    await phone.send({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "#"}})
    assert (await phone.closed())[1] == "the caller pressed #"


async def close(phone: Phone, frames: int) -> None:
    """Close the socket without a message."""
    await talk(phone, frames)
    await phone.socket.close()


async def kill(phone: Phone, frames: int) -> None:
    """Reset the socket within a frame."""
    await talk(phone, frames)
    await phone.say(LOUD, times=3)
    phone.socket.transport.abort()


async def kill_at_once(phone: Phone, _: int) -> None:
    """Reset the socket before any audio."""
    phone.socket.transport.abort()


async def start_again(phone: Phone, frames: int) -> None:
    """Send a second start."""
    await talk(phone, frames)
    await phone.send(start_message())
    assert (await phone.closed())[0] == 1002


async def babble(phone: Phone, frames: int) -> None:
    """Send invalid messages, and media of another call, and then hang up."""
    for bad in ("no JSON", "[]", b"\0", '{"event":"media","streamSid":"MZ0","media":{"payload":"AAAA"}}'):
        await phone.socket.send(bad)
    await hang_up(phone, frames)


async def forge(phone: Phone, _: int) -> None:
    """Present an invalid token."""
    assert (await phone.closed())[0] == 1008


async def soak(soaking: Soak, *, calls: int, at_once: int) -> int:
    """Call in three rounds, and measure after each; return by how much memory grew in the last.

    In the first two the pools of the allocator, of the libraries and of the garbage collector fill (measured
    with the parrot: 84 to 91, 43 to 46, 3 to 6, 3 and 0 MB for 100 calls each); a leak would continue.
    """
    await soaking.call_often(4, at_once, seed=0)  # imports what only a call needs
    before = await soaking.settled(await soaking.held())
    rounds: list[Held] = []
    for seed in (1, 2, 3):
        await soaking.call_often(calls // 3, at_once, seed)
        rounds.append(await soaking.settled(before))
    print("", dict(soaking.ended), f"before {before}", *rounds, sep="\n")  # noqa: T201 - for pytest -s
    assert [held.sessions for held in rounds] == [0, 0, 0]
    assert max(held.files for held in rounds) <= before.files
    assert max(held.threads for held in rounds) <= before.threads
    return rounds[2].rss_bytes - rounds[1].rss_bytes


async def soak_program(twilio: FakeTwilioApi, *options: str, calls: int, at_once: int, frames: int) -> int:
    """Run the program, soak it, and end it; return the result of ``soak``."""
    options = ("--port", "0", "--hangup-key", "#", *options)
    # One arena, or glibc makes a new one for each thread, and memory grows for as long as it has not met all.
    environment = account(twilio) | {"MALLOC_ARENA_MAX": "1"}
    async with program(*options, environment=environment) as run:
        said = await run.says("Answering calls at ws://")
        address = re.search(r"ws://([\w.]+:\d+)/", said)
        assert address
        ending = asyncio.create_task(run.ends())  # reads on: a full pipe would hold the program up
        try:
            grown_bytes = await soak(Soak(run, address[1], twilio, frames), calls=calls, at_once=at_once)
            run.signal(signal.SIGTERM)
            assert await asyncio.wait_for(ending, 60) == 0
        finally:
            ending.cancel()
    assert "Traceback" not in run.said
    return grown_bytes


async def test_300_calls_with_the_parrot(twilio: FakeTwilioApi) -> None:
    # A mirror is never silent, so nothing is trimmed, and each frame can be awaited.
    grown_bytes = await soak_program(twilio, "--parrot-delay", "0", calls=300, at_once=8, frames=6)
    assert grown_bytes < 15 * MB  # 3 to 6 were measured


async def test_18_calls_with_a_tiny_moshi(twilio: FakeTwilioApi, tiny_checkpoint: Path) -> None:
    options = ("--engine", "moshi", "--model", str(tiny_checkpoint), "--greeting", "none", "--calls", "2")
    grown_bytes = await soak_program(twilio, *options, calls=18, at_once=2, frames=3)
    assert grown_bytes < 100 * MB  # a codec takes 500 MB; on a busy machine up to 35 more were measured
