"""Both sides' words as pipecat frames, and pipecat's own aggregators with them."""

from __future__ import annotations

from collections.abc import Iterable

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.tests.utils import run_test
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies

from moshi_phone.engines.duplex import CallerText, DuplexStep
from processors.transcription_frames import MAX_TURN_CHARS, NS_PER_S, PAUSE_STEPS, WordFrames

QUIET = DuplexStep(None)


def frames_of(words: WordFrames, steps: Iterable[DuplexStep]) -> list[Frame]:
    return [
        frame
        for number, step in enumerate(steps)
        for frame in words.of_step(step, heard_s=(number + 1) * 0.08, now_ns=(number + 1) * 80_000_000)
    ]


def test_the_bot_s_words_between_pauses_are_one_response() -> None:
    words = WordFrames()
    steps = [
        DuplexStep(None, " Hel"),
        DuplexStep(None, "lo"),
        *[QUIET] * (PAUSE_STEPS + 3),
        DuplexStep(None, " you"),
    ]
    frames = [*frames_of(words, steps), *words.finish(), *words.finish()]
    assert [type(frame) for frame in frames] == [
        LLMFullResponseStartFrame,
        LLMTextFrame,
        TTSTextFrame,
        LLMTextFrame,
        TTSTextFrame,
        LLMFullResponseEndFrame,
        LLMFullResponseStartFrame,
        LLMTextFrame,
        TTSTextFrame,
        LLMFullResponseEndFrame,
    ]
    spoken = [frame for frame in frames if isinstance(frame, TTSTextFrame)]
    assert [frame.text for frame in spoken] == [" Hel", "lo", " you"]
    assert [frame.pts for frame in spoken[:2]] == [80_000_000, 160_000_000]
    assert all(frame.includes_inter_frame_spaces and frame.append_to_context for frame in spoken)
    assert not any(frame.append_to_context for frame in frames if isinstance(frame, LLMTextFrame))


def test_the_caller_s_words_are_interim_until_a_pause() -> None:
    words = WordFrames()
    steps = [QUIET] * 20
    steps += [DuplexStep(None, caller_text=(CallerText(" Good", 1.0),)), QUIET]
    steps += [DuplexStep(None, caller_text=(CallerText(" day", 1.2), CallerText(".", 1.3)))]
    steps += [QUIET] * (PAUSE_STEPS + 3)
    frames = frames_of(words, steps)
    started, first, second, final, stopped = frames
    assert isinstance(started, UserStartedSpeakingFrame)
    assert isinstance(stopped, UserStoppedSpeakingFrame)
    assert isinstance(first, InterimTranscriptionFrame)
    assert isinstance(second, InterimTranscriptionFrame)
    assert (first.text, second.text, second.user_id) == ("Good", "Good day.", "caller")
    assert second.result == (CallerText(" day", 1.2), CallerText(".", 1.3))
    assert (first.pts, second.pts) == (NS_PER_S, 1_200_000_000)
    assert isinstance(final, TranscriptionFrame)
    assert (final.text, final.finalized) == ("Good day.", True)
    assert not list(words.finish())


def test_the_model_s_end_of_turn_ends_it_at_once() -> None:
    words = WordFrames()
    spoken = DuplexStep(
        None, caller_text=(CallerText(" Yes", 0.1),), pause_probabilities=(0.9, 0.9, 0.2, 0.1)
    )
    over = DuplexStep(None, pause_probabilities=(0.9, 0.9, 0.51, 0.1))
    frames = frames_of(words, [spoken, over, over])
    assert [type(frame) for frame in frames] == [
        UserStartedSpeakingFrame,
        InterimTranscriptionFrame,
        TranscriptionFrame,
        UserStoppedSpeakingFrame,
    ]


def test_speech_without_pauses_has_several_turns_and_loses_no_word() -> None:
    words = WordFrames()
    steps = [DuplexStep(None, caller_text=(CallerText(" word", 0.0),))] * 1_000
    frames = [*frames_of(words, steps), *words.finish()]
    turns = [frame.text for frame in frames if isinstance(frame, TranscriptionFrame)]
    assert max(map(len, turns)) <= MAX_TURN_CHARS + len(" word")
    assert " ".join(turns).split() == ["word"] * 1_000
    assert sum(isinstance(frame, UserStartedSpeakingFrame) for frame in frames) == len(turns) == 3


def test_open_turns_are_finished_at_the_call_s_end() -> None:
    words = WordFrames()
    frames_of(words, [DuplexStep(None, " Hello", caller_text=(CallerText(" Yes", 0.0),))])
    assert [type(frame) for frame in words.finish()] == [
        LLMFullResponseEndFrame,
        TranscriptionFrame,
        UserStoppedSpeakingFrame,
    ]


async def test_pipecat_s_aggregators_build_a_context_from_them() -> None:
    words, context = WordFrames(), LLMContext()
    pair = LLMContextAggregatorPair(
        context, user_params=LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
    )
    said = [
        DuplexStep(None, " Hello", caller_text=(CallerText(" Good", 0.0),)),
        DuplexStep(None, " there.", caller_text=(CallerText(" day.", 0.1),)),
        *[QUIET] * (PAUSE_STEPS + 1),
    ]
    frames = frames_of(words, said)
    turns = (UserStartedSpeakingFrame, UserStoppedSpeakingFrame)
    await run_test(pair.assistant(), frames_to_send=[one for one in frames if not isinstance(one, turns)])
    assert context.messages == [{"role": "assistant", "content": "Hello there."}]
    (final,) = [frame for frame in frames if isinstance(frame, TranscriptionFrame)]
    turn = [UserStartedSpeakingFrame(), final, UserStoppedSpeakingFrame()]
    await run_test(pair.user(), frames_to_send=turn)
    assert context.messages[1:] == [{"role": "user", "content": "Good day."}]
