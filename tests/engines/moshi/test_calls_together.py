"""Four calls over sockets in one step: an event in one of them does not affect the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.moshi.model.language_model import LanguageStep
from moshi_phone.engines.moshi.session import MoshiSession
from moshi_phone.engines.options import EngineOptions
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from tests.support.phone import Phone, serving, start_message
from tests.support.waiting import wait_until

ROUNDS, SPEAKS_AT, BREAKS_AT = 9, 2, 5
NAMES = ("killed", "steered", "persona", "broken")
WAIT_S = 60.0

Said = list[tuple[int, list[int]]]


class Line:
    """A server with a tiny PersonaPlex, whose sessions' tokens are recorded in the order of their calls."""

    def __init__(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        options = EngineOptions(
            model=str(model), quantize="none", calls=4, seed=1, greeting="none", hang_secs=10 * WAIT_S
        )
        self.engine = MoshiEngine(options, codec_limit_frames=3000)
        self.state = ServerState(self.engine, Settings(engine=options))
        self.said: list[tuple[MoshiSession, Said]] = []
        spoke = MoshiSession._spoke

        def keep(session: MoshiSession, frame: object, step: LanguageStep, step_ms: float) -> None:
            if all(session is not one for one, _ in self.said):
                self.said.append((session, []))
            assert step.audio_tokens is not None
            [said] = [said for one, said in self.said if one is session]
            said.append((step.text_token, step.audio_tokens.tolist()))
            spoke(session, frame, step, step_ms)  # type: ignore[arg-type]

        monkeypatch.setattr(MoshiSession, "_spoke", keep)

    async def talk(self, address: str, names: Sequence[str]) -> list[Said]:
        """Let some of the callers talk, with the frames of all of them in one step."""
        self.said.clear()
        assert self.engine._loaded is not None
        thread = self.engine._loaded.thread
        async with AsyncExitStack() as stack:
            phones: dict[str, Phone] = {}
            for place, name in enumerate(names):  # one after the other, so that their order is known
                if name == "persona":
                    request = CallOverrides(persona="bibibi koko", voice="NATM0")
                    self.state.expected.add(f"CA{name}", PendingCall(request=request), self.state.clock())
                start = start_message(sid=f"MZ{name}", call_sid=f"CA{name}")
                phones[name] = await stack.enter_async_context(Phone.calling(address, start))
                await phones[name].say(_sound(name), times=4)
                await _until(partial(self._has_said, place, 1))
            for number in range(1, ROUNDS):
                if number == SPEAKS_AT and "steered" in phones:
                    self.said[list(names).index("steered")][0].say("dadada lolo memi")
                if number == BREAKS_AT and "broken" in phones:
                    language = self.said[list(names).index("broken")][0]._language
                    assert language is not None
                    language._hear = lambda *_: 1 // 0  # type: ignore[method-assign, assignment]
                if number == BREAKS_AT and "killed" in phones:
                    phones.pop("killed").socket.transport.abort()
                go_on = threading.Event()
                held = thread.call(partial(go_on.wait, WAIT_S))
                for name, phone in phones.items():
                    await phone.say(_sound(name), times=4)
                waiting = len(phones)
                await _until(partial(_steps_wait, self.engine, waiting))
                go_on.set()
                await asyncio.wrap_future(held)
                if number == BREAKS_AT and "broken" in phones:
                    code, reason = await phones.pop("broken").closed()
                    assert code not in (1000, 1001), reason
                for place, name in enumerate(names):
                    if name in phones:
                        await _until(partial(self._has_said, place, number + 1))
        await self.state.calls.wait_until_idle()
        await _until(lambda: self.engine.error is None)
        return [said for _, said in self.said]

    def _has_said(self, place: int, steps: int) -> bool:
        return len(self.said) > place and len(self.said[place][1]) == steps


def _sound(name: str) -> bytes:
    place = NAMES.index(name)
    return bytes([0x10 + 3 * place, 0x90 + 5 * place] * 80)


def _steps_wait(engine: MoshiEngine, wanted: int) -> bool:
    assert engine._loaded is not None
    waiting = sum(job.batch is engine._loaded.steps for job in list(engine._loaded.thread._jobs._jobs))
    return waiting >= wanted


async def _until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, condition)


@pytest.mark.slow
async def test_calls_in_one_step_do_not_affect_each_other(
    tiny_personaplex: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(tiny_personaplex, monkeypatch)
    async with serving(line.state) as address:
        alone = {name: (await line.talk(address, [name]))[0] for name in ("steered", "persona")}
        killed, steered, persona, broken = await line.talk(address, NAMES)
        assert line.engine.step_times[4].count == BREAKS_AT - 1
        assert line.engine.lost_calls == 1
        assert steered == alone["steered"]
        assert persona == alone["persona"]
        assert len(steered) == len(persona) == ROUNDS
        assert len(killed) == len(broken) == BREAKS_AT
        assert len({str(one) for one in (killed, steered[:BREAKS_AT], persona[:BREAKS_AT], broken)}) == 4
        assert (await line.talk(address, ["steered"]))[0] == alone["steered"], "nor is anything left behind"
