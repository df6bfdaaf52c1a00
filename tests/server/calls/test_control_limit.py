"""The limit on a call's length: a notice, by words or by a tone, and then the end."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from moshi_phone.audio import g711
from moshi_phone.engines.duplex import Unsupported
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.control import NOTICE, SHORT_NOTICE, end_at_limit
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.media_stream import Start
from moshi_phone.testing.engine import FakeEngine, FakeSession
from tests.support.phone import Phone, serving
from tests.support.simulated import run_simulated

MURMUR = g711.encode(np.array([800, -800] * 80, "<i2").tobytes())


class Session(FakeSession):
    """Records the words that it must say, if it can."""

    def __init__(self, *, can_say: bool = True) -> None:
        super().__init__(FakeEngine())
        self.can_say = can_say
        self.spoken: list[tuple[float, str]] = []

    def say(self, text: str) -> None:
        if not self.can_say:
            raise Unsupported("It cannot.")
        self.spoken.append((asyncio.get_running_loop().time(), text))


def limited(session: Session, limit_secs: float) -> tuple[list[float], str, float]:
    """Return when the tone sounded, why the call ended, and when; in simulated time."""
    tones: list[float] = []
    ended: list[tuple[str, float]] = []

    async def test() -> None:
        loop = asyncio.get_running_loop()
        call = Call(Start("MZ1", "CA1", "AC1", {}, {}), session=session)
        await end_at_limit(call, limit_secs, lambda: tones.append(loop.time()))
        ended.append(((await call.wait_for_end())[0], loop.time()))

    run_simulated(test())
    [(reason, at_s)] = ended
    return tones, reason, at_s


def test_words_announce_the_end_30_seconds_before() -> None:
    session = Session()
    tones, reason, at_s = limited(session, 600)
    assert session.spoken == [(570, NOTICE)]
    assert (tones, at_s) == ([], 600)
    assert reason == "it lasted 600 s, which --call-limit-secs allows"


def test_a_tone_announces_it_if_the_engine_cannot_say_words() -> None:
    session = Session(can_say=False)
    assert limited(session, 600)[::2] == ([570], 600)


def test_a_short_limit_is_announced_at_half_time() -> None:
    session = Session()
    limited(session, 10)
    assert session.spoken == [(5, SHORT_NOTICE)]


@pytest.mark.parametrize("limit_secs", [None, 1.0])
async def test_a_whole_call_ends_at_its_limit(limit_secs: float | None) -> None:
    line = ServerState(FakeEngine(), Settings(calls=CallOptions(call_limit_secs=limit_secs)))
    async with serving(line) as address, Phone.calling(address) as phone:

        async def talk() -> None:
            for _ in range(1000):
                await phone.say(MURMUR, times=4)
                await phone.listen(1)
                await asyncio.sleep(0.08)

        talking = asyncio.ensure_future(talk())
        done, _ = await asyncio.wait((talking,), timeout=None if limit_secs else 1.5)
        talking.cancel()
        if limit_secs is None:
            assert not done
            return
        assert done
        assert isinstance(talking.exception(), Exception)
        assert await phone.closed() == (1000, "it lasted 1 s, which --call-limit-secs allows")
        heard = np.frombuffer(g711.decode(phone.heard), "<i2")
        assert np.abs(heard[:1000]).max() < 1_000
        assert np.abs(heard).max() > 3_000, "three beeps over the murmur"
