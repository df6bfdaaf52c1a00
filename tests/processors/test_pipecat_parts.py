"""pipecat's aggregators, observers and processors in the list, each where its documentation places it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    MetricsFrame,
    UserStartedSpeakingFrame,
)
from pipecat.metrics.metrics import ProcessingMetricsData, TTFBMetricsData
from pipecat.observers.turn_tracking_observer import TurnTrackingObserver
from pipecat.observers.user_bot_latency_observer import UserBotLatencyObserver
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.pipeline.service_switcher import ServiceSwitcher
from pipecat.pipeline.worker import PipelineParams
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi import RTVIObserver, RTVIProcessor
from pipecat.processors.idle_frame_processor import IdleFrameProcessor
from pipecat.turns.user_mute import MuteUntilFirstBotCompleteUserMuteStrategy

from processors.moshi import MoshiProcessor
from tests.processors.passing import Passing
from tests.processors.pipecat_line import HEARS, STEP_S, TWO, Talker, phone_line
from tests.processors.simulated_line import call, loud_s, tone
from tests.support.logs import Logged


def heard_s(*stages: FrameProcessor, place: str = "before", secs: float = 5, **options: Any) -> float:
    """Return how many of the session's two seconds of speech are heard, with more stages in one place."""
    heard, _ = call(lambda t: phone_line(t, Talker(), **{place: stages}), secs, **options)
    return loud_s(heard)


def aggregators(**params: Any) -> tuple[LLMContext, LLMContextAggregatorPair]:
    context = LLMContext()
    return context, LLMContextAggregatorPair(context, user_params=LLMUserAggregatorParams(**params))


CONVERSATION = [
    {"role": "user", "content": "Good day."},
    {"role": "assistant", "content": " ".join(["la"] * 6)},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": " ".join(["la"] * 7)},
]


def test_context_aggregator_pair_holds_both_sides_in_order() -> None:
    """As in pipecat's documentation; the caller's words did not reach it."""
    context, pair = aggregators()
    session = Talker([(2, 4), (7, 9)], HEARS)
    heard, _ = call(lambda t: phone_line(t, session, before=[pair.user()], behind=[pair.assistant()]), 12)
    assert context.messages == CONVERSATION
    assert loud_s(heard) == pytest.approx(4, abs=0.15)


def test_turns_and_latency_are_observed() -> None:
    turns, latency = TurnTrackingObserver(), UserBotLatencyObserver()
    counted: list[int] = []
    bot_spoke: list[bool] = []

    async def on_turn_ended(_: Any, number: int, __: float, ___: bool) -> None:
        counted.append(number)

    turns.add_event_handler("on_turn_ended", on_turn_ended)

    async def on_first(*_: Any) -> None:
        bot_spoke.append(True)

    latency.add_event_handler("on_first_bot_speech_latency", on_first)
    session = Talker([(2, 4), (7, 9)], HEARS)
    call(lambda t: phone_line(t, session), 14, observers=[turns, latency])
    assert counted == [1, 2]


def test_metrics_of_a_response() -> None:
    seen = Passing()
    worker_params = PipelineParams(
        audio_in_sample_rate=8_000, audio_out_sample_rate=8_000, enable_metrics=True
    )
    session = Talker([(3, 4)], {0.4: " Good", 0.6: " day."})
    call(lambda t: phone_line(t, session, after_moshi=[seen]), 7, worker_params=worker_params)
    data = [one for frame in seen.of(MetricsFrame) for one in frame.data]
    own = [one for one in data if one.processor.startswith("MoshiProcessor") and getattr(one, "value", 0)]
    assert [type(one) for one in own] == [TTFBMetricsData, ProcessingMetricsData]


def test_user_mute_and_the_session_s_clock() -> None:
    """A muted caller's audio is withheld, but it is the session's clock: it would never speak, nor unmute."""
    mute = MuteUntilFirstBotCompleteUserMuteStrategy()  # type: ignore[no-untyped-call]
    _, pair = aggregators(user_mute_strategies=[mute])
    session = Talker()
    said = tone(7, 8_000)
    heard, _ = call(
        lambda t: phone_line(t, session, before=[pair.user()], behind=[pair.assistant()]), 7, said
    )
    assert loud_s(heard) == TWO
    levels = [float(np.abs(frame).max()) for frame in session.fed]
    loud = [number * STEP_S for number, level in enumerate(levels) if level > 0.1]
    assert loud[0] == pytest.approx(3.4, abs=0.3)  # heard from the end of its first speech on
    assert len(session.fed) == pytest.approx(7 / STEP_S, abs=4)


def test_user_idle() -> None:
    _, pair = aggregators(user_idle_timeout=2.0)
    user, idle = pair.user(), []

    async def on_user_turn_idle(_: Any) -> None:
        idle.append(asyncio.get_running_loop().time())

    user.add_event_handler("on_user_turn_idle", on_user_turn_idle)
    call(lambda t: phone_line(t, Talker(), before=[user], behind=[pair.assistant()]), 8)
    assert idle == [pytest.approx(5.4, abs=0.3)]


def test_rtvi_processor_with_its_observer(logged: Logged) -> None:
    rtvi = RTVIProcessor()
    heard, _ = call(
        lambda t: phone_line(t, Talker(hears=HEARS), before=[rtvi]), 8, observers=[RTVIObserver(rtvi)]
    )
    assert loud_s(heard) == TWO
    assert logged.text.count("messages of an application (RTVI's too) are not sent") == 1


def test_idle_frame_processor() -> None:
    idle: list[float] = []

    async def callback(_: IdleFrameProcessor) -> None:
        idle.append(asyncio.get_running_loop().time())

    stage = IdleFrameProcessor(callback=callback, timeout=1.0, types=[UserStartedSpeakingFrame])
    assert heard_s(stage) == TWO
    assert len(idle) >= 3


def test_frame_logger(logged: Logged) -> None:
    from pipecat.processors.logger import FrameLogger  # noqa: PLC0415

    assert heard_s(FrameLogger("Line")) == TWO
    assert "> Line: StartFrame" in logged.text


def test_parallel_pipeline() -> None:
    seen = Passing()
    identity = IdentityFilter()  # type: ignore[no-untyped-call]
    parallel = ParallelPipeline([identity], [Ears(seen)])  # type: ignore[no-untyped-call]
    assert heard_s(parallel) == TWO
    assert len(seen.of(InputAudioRawFrame)) > 50


class Ears(FrameProcessor):
    """The other branch: takes the caller's audio, and passes none of it on."""

    def __init__(self, seen: Passing) -> None:
        super().__init__()
        self._seen = seen

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._seen.frames.append(frame)
        else:
            await self.push_frame(frame, direction)


def _parallel(*stages: FrameProcessor) -> ParallelPipeline:
    return ParallelPipeline(*([stage] for stage in stages))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("switched", [True, False])
def test_two_parallel_engines_are_logged_and_switched_ones_are_heard(
    logged: Logged, *, switched: bool
) -> None:
    """In parallel, each one's pauses cut the other's speech, and nothing was logged."""
    engines = [MoshiProcessor(Talker([(1, 3)])), MoshiProcessor(Talker([(4, 5)]))]
    both = ServiceSwitcher([*engines]) if switched else _parallel(*engines)
    heard, _ = call(lambda t: phone_line(t, both), 8)
    assert ("ServiceSwitcher selects one" in logged.text) is not switched
    assert (loud_s(heard) == TWO) is switched
