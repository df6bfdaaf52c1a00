"""Users' engines that misbehave: their call ends, and the others continue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import numpy as np
import pytest

from examples.tone_engine import ToneEngine, ToneSession
from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.engines.duplex import (
    NO_OVERRIDES,
    CallOverrides,
    DuplexStep,
    EngineUnavailable,
    Unsupported,
)
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.startup import Startup, watching
from moshi_phone.telephony.media_stream import parse
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message
from tests.support.waiting import until


class RudeSession(ToneSession):
    """Raises SystemExit, or never returns."""

    def __init__(self, engine: RudeEngine) -> None:
        super().__init__(engine)
        self._rude, self._what, self._error = engine, engine.what, engine.raised

    def feed(self, pcm: Pcm) -> None:
        if self._what == "feed":
            raise self._error
        super().feed(pcm)

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        if self._what == "outputs":
            raise self._error
        while self._what == "never awaits" and self._rude.steps_left:
            self._rude.steps_left -= 1
            yield DuplexStep(np.zeros(FRAME_SAMPLES, np.float32))
        async for step in super().outputs():
            yield step

    async def close(self) -> None:
        await super().close()
        if self._what == "close":
            raise self._error

    def say(self, text: str) -> None:
        raise self._error


class RudeEngine(ToneEngine):
    """Misbehaves in its first call, and works in later ones."""

    def __init__(self, what: str, raised: type[BaseException] = SystemExit) -> None:
        self.what, self.raised = what, raised
        self.steps_left = 20_000  # that it never awaits in: some seconds

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> ToneSession:
        super().open_session(request)
        if self.what == "open":
            self.what, self.running = "", self.running - 1
            raise self.raised
        session = RudeSession(self)
        self.what = ""
        return session


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("what", ["open", "feed", "outputs", "close"])
async def test_an_engine_that_exits_loses_its_own_call_only(what: str, raised: type[BaseException]) -> None:
    """In a task, SystemExit ends the event loop: the server ran on without its signal handlers."""
    async with serving(ServerState(RudeEngine(what, raised))) as address:
        async with Phone.calling(address, start_message(call_sid="CA1")) as phone:
            await phone.say(times=8)
            if what == "close":
                await phone.send({"event": "stop"})
            code, _ = await phone.closed()
            assert code == (1000 if what == "close" else 1011)
        async with Phone.calling(address, start_message(call_sid="CA2")) as phone:
            await phone.say(times=8)
            await phone.listen(frames=2)


async def test_an_engine_that_exits_in_its_health_check_is_checked_again(logged: Logged) -> None:
    class Leaver(ToneEngine):
        looks = 0

        def watch(self) -> None:
            self.looks += 1
            if self.looks == 1:
                raise SystemExit(3)

    engine = Leaver()
    async with watching(engine):
        await until(lambda: engine.looks > 1)
    assert "cannot be watched" in logged.text


async def test_an_engine_that_exits_instead_of_saying_words_continues() -> None:
    call = Call(parse(json.dumps(start_message())), session=RudeSession(RudeEngine("say")))  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="cannot say it"):
        call.say("Hello.")


async def test_an_engine_that_never_awaits_does_not_block_the_others() -> None:
    """It used to block the event loop for 30 s."""
    engine = RudeEngine("never awaits")
    async with (
        serving(ServerState(engine)) as address,
        asyncio.timeout(20),
        Phone.calling(address, start_message(call_sid="CA1")) as rude,
    ):
        await rude.say(times=4)
        async with Phone.calling(address, start_message(call_sid="CA2")) as phone:
            await phone.say(times=8)
            await phone.listen(frames=2)
            assert 0 < engine.steps_left < 20_000, "in the midst of it"


async def test_an_engine_that_exits_at_the_start_is_an_error() -> None:
    class Leaver(ToneEngine):
        async def start(self, progress: object) -> None:
            raise SystemExit(3)

    with pytest.raises(EngineUnavailable, match="did not start"):
        await Startup().run(Leaver(), lambda _: None)
