"""The measure of a running call: the same as of its recording, and never in the audio's way."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from moshi_phone.conversation.conversation import Conversation
from moshi_phone.conversation.events import Event
from moshi_phone.conversation.live import LiveConversation, Moment
from moshi_phone.conversation.metrics import ConversationMetrics
from tests.conversation.scripted import Behaviour, talk
from tests.support.inline_executor import InlineExecutor
from tests.support.logs import Logged

FRAME = 640


async def test_a_call_is_judged_live_as_it_is_afterwards() -> None:
    line = talk("slt", Behaviour(), silence_s=4)[0].on_the_line()
    afterwards = Conversation()
    afterwards.feed(line)
    afterwards.finish()
    expected = ConversationMetrics()
    expected.add(afterwards.events)
    moments: list[Moment] = []
    with ThreadPoolExecutor(1) as worker:
        live = LiveConversation(worker, watchers=[moments.append])
        for begin in range(0, len(line), FRAME):
            live.take(line[begin : begin + FRAME])
            while live._waiting_samples > 80_000:  # noqa: ASYNC110 - quicker than a call, but not too quick
                await asyncio.sleep(0.01)
        live.close()
        await asyncio.wait_for(live.finished(), 30)
        live.close()
    assert live.metrics.summary() | {"longest_silence_s": 0} == expected.summary()
    assert live.metrics.longest_silence_s == pytest.approx(4.0, abs=0.08)
    assert live.metrics.response.count == 10
    assert moments[-1].heard_s == pytest.approx(len(line) / 8_000)
    assert live.version == len(moments)
    assert live.strip["responses"][-1][1] == pytest.approx(240, abs=80)


async def test_the_audio_never_waits_for_the_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second of work for each half second: what comes meanwhile is taken at once, and waits."""

    feed = Conversation.feed

    def slow_feed(talk: Conversation, both: NDArray[np.int16]) -> list[Event]:
        time.sleep(0.3)
        return feed(talk, both)

    monkeypatch.setattr(Conversation, "feed", slow_feed)
    with ThreadPoolExecutor(1) as worker:
        live = LiveConversation(worker)
        began_s = time.perf_counter()
        for _ in range(100):
            live.take(np.zeros((FRAME, 2), np.int16))
        assert time.perf_counter() - began_s < 0.2
        live.close()
        await asyncio.wait_for(live.finished(), 30)
        assert live.strip["until_s"] == pytest.approx(8.0)


async def test_a_machine_without_time_gives_up_measuring_and_says_so(logged: Logged) -> None:
    with ThreadPoolExecutor(1) as worker:
        worker.submit(time.sleep, 1.0)
        live = LiveConversation(worker)
        for _ in range(500):  # 40 s, of which 30 may wait
            live.take(np.zeros((FRAME, 2), np.int16))
        await asyncio.wait_for(live.finished(), 1)
    assert logged.text.count("no time to measure") == 1


async def test_an_error_in_the_measure_ends_the_measure_alone(
    monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Conversation, "feed", breaks)
    live = LiveConversation(InlineExecutor())
    for _ in range(20):
        live.take(np.zeros((FRAME, 2), np.int16))
        await asyncio.sleep(0)
    await asyncio.wait_for(live.finished(), 1)
    assert logged.text.count("could not be judged") == 1


@pytest.mark.parametrize(
    ("bot_answers", "waits"), [(True, False), (False, True)], ids=["answered", "unanswered"]
)
async def test_a_moment_knows_whether_the_caller_waits(bot_answers: bool, waits: bool) -> None:
    scene, _ = talk("slt", Behaviour(), silence_s=4)
    line = scene.on_the_line()[: 20 * 8_000]
    if not bot_answers:
        line[4 * 8_000 :, 1] = 0
    moments: list[Moment] = []
    live = LiveConversation(InlineExecutor(), watchers=[moments.append])
    live.take(np.concatenate((line, np.zeros((5 * 8_000, 2), np.int16))))
    live.close()
    await live.finished()
    assert (moments[-1].unanswered_since_s is not None) is waits
