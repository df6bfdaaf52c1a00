"""Measurements of a running call equal those of its recording, and never block the audio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Never, NoReturn

import numpy as np
import pytest

from moshi_phone.conversation import silero
from moshi_phone.conversation.conversation import Conversation
from moshi_phone.conversation.events import Event
from moshi_phone.conversation.live import Judge, LiveConversation
from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.conversation.ongoing import Moment
from tests.conversation.scripted import Behaviour, talk
from tests.support.inline_executor import InlineExecutor
from tests.support.logs import Logged

FRAME = 640


async def test_live_measurements_equal_those_of_the_recording() -> None:
    line = talk("slt", Behaviour(), silence_s=4)[0].on_the_line()
    afterwards = Conversation()
    afterwards.feed(line)
    afterwards.finish()
    expected = ConversationMetrics()
    expected.add(afterwards.events)
    moments: list[Moment] = []
    with ThreadPoolExecutor(1) as worker:
        live = LiveConversation(Judge(worker), watchers=[moments.append])
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


async def test_the_audio_never_waits_for_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each half second takes half a second of work: audio that arrives meanwhile is accepted and queued."""

    found = Conversation.found

    def found_slowly(talk: Conversation) -> list[Event]:
        time.sleep(0.3)
        return found(talk)

    monkeypatch.setattr(Conversation, "found", found_slowly)
    with ThreadPoolExecutor(1) as worker:
        live = LiveConversation(Judge(worker))
        began_s = time.perf_counter()
        for _ in range(100):
            live.take(np.zeros((FRAME, 2), np.int16))
        assert time.perf_counter() - began_s < 2  # half of what the measure takes
        live.close()
        await asyncio.wait_for(live.finished(), 30)
        assert live.strip["until_s"] == pytest.approx(8.0)


async def test_a_machine_without_spare_time_stops_measuring_and_logs_it(logged: Logged) -> None:
    with ThreadPoolExecutor(1) as worker:
        worker.submit(time.sleep, 1.0)
        live = LiveConversation(Judge(worker))
        for _ in range(500):  # 40 s, of which 30 may wait
            live.take(np.zeros((FRAME, 2), np.int16))
        await asyncio.wait_for(live.finished(), 30)
    assert logged.text.count("no time to measure") == 1


@pytest.mark.parametrize("name", ["judging", "found"])
async def test_an_error_ends_only_its_own_call_s_measurement(
    name: str, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    judge = Judge(InlineExecutor())
    broken, other = LiveConversation(judge), LiveConversation(judge)

    def breaks(*_: object) -> NoReturn:
        raise RuntimeError("broken")

    def breaks_later(*_: object) -> tuple[Iterator[Never], Iterator[Never]]:
        return map(breaks, "1"), iter(())

    monkeypatch.setattr(broken._talk._talk, name, breaks_later if name == "judging" else breaks)
    for _ in range(20):
        for live in (broken, other):
            live.take(np.zeros((FRAME, 2), np.int16))
        await asyncio.sleep(0)
    other.close()
    for live in (broken, other):
        await asyncio.wait_for(live.finished(), 30)
    assert logged.text.count("could not be judged") == 1
    assert other.strip["until_s"] == pytest.approx(1.6)


async def test_calls_measured_together_give_the_results_of_each_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [talk(voice, Behaviour())[0].on_the_line()[: 20 * 8_000] for voice in ("slt", "rms")]
    lines.append(np.roll(lines[0], 12_345, axis=0))
    alone = []
    for line in lines:
        conversation = Conversation()
        conversation.feed(line)
        conversation.finish()
        alone.append(conversation.events)
    asked = list[int]()
    probabilities = silero._probabilities

    def counted(windows: Sequence[silero.Window]) -> list[float]:
        asked.append(len(windows))
        return probabilities(windows)

    monkeypatch.setattr(silero, "_probabilities", counted)
    judge = Judge(InlineExecutor())
    calls = [LiveConversation(judge) for _ in lines]
    for begin in range(0, len(lines[0]), FRAME):
        for live, line in zip(calls, lines, strict=True):
            live.take(line[begin : begin + FRAME])
            await asyncio.sleep(0)
    for live in calls:
        live.close()
        await asyncio.wait_for(live.finished(), 30)
    assert [live._talk._talk.events for live in calls] == alone
    assert np.mean(asked) > 2


@pytest.mark.parametrize(
    ("bot_answers", "waits"), [(True, False), (False, True)], ids=["answered", "unanswered"]
)
async def test_a_moment_shows_whether_the_caller_is_waiting(bot_answers: bool, waits: bool) -> None:
    scene, _ = talk("slt", Behaviour(), silence_s=4)
    line = scene.on_the_line()[: 20 * 8_000]
    if not bot_answers:
        line[4 * 8_000 :, 1] = 0
    moments: list[Moment] = []
    live = LiveConversation(Judge(InlineExecutor()), watchers=[moments.append])
    live.take(np.concatenate((line, np.zeros((5 * 8_000, 2), np.int16))))
    live.close()
    await live.finished()
    assert (moments[-1].unanswered_since_s is not None) is waits
