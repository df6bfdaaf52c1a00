from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    LLMContextFrame,
    LLMMessagesAppendFrame,
    LLMMessagesUpdateFrame,
    LLMRunFrame,
    LLMSetToolsFrame,
    TTSSpeakFrame,
    UserImageRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.tests.utils import run_test
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies

from moshi_phone.testing import FakeSession, run_simulated
from processors.moshi import MoshiProcessor
from tests.processors.passing import Passing
from tests.support.logs import Logged

WARNING = "answers what it hears, not an LLM context"
GREET: Any = {"role": "developer", "content": "Greet the caller."}
TOOL = FunctionSchema("hours", "When we are open.", {}, [])
SAID: Any = [{"role": "user", "content": "Good day."}, {"role": "assistant", "content": "Hello."}]


class LanguageModel(Passing):
    def run_inference(self) -> None:
        """As pipecat's LLMService has it."""


def send(frame: Frame, *behind: FrameProcessor, before: tuple[FrameProcessor, ...] = ()) -> list[Frame]:
    stages = Pipeline([*before, MoshiProcessor(FakeSession(answers=[])), *behind])
    frames, _ = run_simulated(run_test(stages, frames_to_send=[frame, frame]))
    return list(frames)


@pytest.mark.parametrize(
    "make",
    [
        LLMRunFrame,
        lambda: LLMMessagesAppendFrame([GREET], run_llm=True),
        lambda: LLMMessagesUpdateFrame([GREET], run_llm=True),
        lambda: LLMContextFrame(LLMContext()),
        lambda: LLMContextFrame(LLMContext([*SAID, GREET])),
        lambda: LLMContextFrame(LLMContext(SAID, tools=[TOOL])),
        lambda: LLMSetToolsFrame(tools=[]),
        lambda: UserImageRawFrame(bytes(12), (2, 2), "RGB", run_llm=True),
    ],
)
def test_a_request_to_a_language_model_is_passed_on_with_one_warning(
    make: Callable[[], Frame], logged: Logged
) -> None:
    """The bot that pipecat's guides start by an LLMRunFrame was silent, and nothing said why."""
    frame = make()
    assert send(frame).count(frame) == 2
    assert logged.text.count(WARNING) == 1


def test_an_aggregator_s_llm_run_frame_is_warned_of(logged: Logged) -> None:
    own_turns = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())  # loads no model
    pair = LLMContextAggregatorPair(LLMContext([GREET]), user_params=own_turns)
    send(LLMRunFrame(), before=(pair.user(),))
    assert logged.text.count(WARNING) == 1


@pytest.mark.parametrize(
    "frame",
    [
        LLMContextFrame(LLMContext(SAID)),
        LLMMessagesAppendFrame([GREET]),
        TTSSpeakFrame("Good day."),
        InputAudioRawFrame(bytes(3_840), 24_000, 1),
    ],
)
def test_a_record_of_the_call_is_no_request(frame: Frame, logged: Logged) -> None:
    send(frame)
    assert WARNING not in logged.text


def test_a_language_model_behind_the_stage_may_be_asked(logged: Logged) -> None:
    send(LLMRunFrame(), Passing(), LanguageModel())
    assert WARNING not in logged.text
