from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    ServiceMetadataFrame,
    SpeechOutputAudioRawFrame,
    TranscriptionFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.workers.runner import WorkerRunner

from moshi_phone.engines.duplex import CallerText, DuplexStep
from moshi_phone.testing.engine import FakeEngine, FakeSession
from processors.frames import EngineMetricsFrame, MulawInputFrame
from processors.moshi import MoshiProcessor
from tests.processors.passing import Passing
from tests.support.logs import Logged
from tests.support.simulated import run_simulated


def heard(value: float, samples: int = 1_920, rate_hz: int = 24_000) -> InputAudioRawFrame:
    audio = np.full(samples, value * 32_768).astype("<i2").tobytes()
    return InputAudioRawFrame(audio, rate_hz, num_channels=1)


def talk(
    engine: FakeEngine, frames: list[Frame], secs: float = 1.0, **options: Any
) -> tuple[Passing, Passing]:
    """Send frames through the stage, wait in simulated time, end; return the frames before and after it."""

    async def main() -> tuple[Passing, Passing]:
        await engine.start(lambda _: None)
        before, after = Passing(), Passing()
        session = engine.open_session()
        stage = MoshiProcessor(session, **options)
        worker = PipelineWorker(
            Pipeline([before, stage, after]),
            enable_rtvi=False,
            enable_turn_tracking=False,
            idle_timeout_secs=None,
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await worker.queue_frames(frames)
        asyncio.get_running_loop().call_later(secs, lambda: asyncio.ensure_future(end()))

        async def end() -> None:
            await session.close()
            await worker.queue_frame(EndFrame())

        await runner.run()
        return before, after

    coroutine: Coroutine[Any, Any, tuple[Passing, Passing]] = main()
    return run_simulated(coroutine)


def test_each_frame_is_answered_at_once_with_speech_and_text() -> None:
    _, after = talk(FakeEngine(), [heard(0.25), heard(0.5)])
    said = [one for one in after.frames[1:-1] if not isinstance(one, ServiceMetadataFrame)]
    assert [type(frame) for frame in said] == [
        LLMFullResponseStartFrame,
        LLMTextFrame,
        TTSTextFrame,
        EngineMetricsFrame,
        TTSStartedFrame,
        SpeechOutputAudioRawFrame,
        LLMTextFrame,
        TTSTextFrame,
        EngineMetricsFrame,
        SpeechOutputAudioRawFrame,
        LLMFullResponseEndFrame,
        TTSStoppedFrame,
    ]
    assert [text.text for text in after.of(TTSTextFrame)] == [" 1", " 2"]
    assert [frame.audio for frame in after.of(SpeechOutputAudioRawFrame)] == [
        heard(0.25).audio,
        heard(0.5).audio,
    ]


@pytest.mark.parametrize("broken", [None, RuntimeError, SystemExit])
@pytest.mark.parametrize("hangs_up", [True, False])
def test_the_caller_s_last_words_are_passed_on_before_the_end(
    monkeypatch: pytest.MonkeyPatch, hangs_up: bool, broken: type[BaseException] | None
) -> None:
    """A hang-up cancels the pipeline; other ends let it finish."""
    pieces = (CallerText(" good", 0.04), CallerText("bye", 0.1))

    async def finish_listening(_: FakeSession) -> tuple[CallerText, ...]:
        await asyncio.sleep(0.5)
        if broken is not None:
            raise broken("a bug")
        return pieces

    monkeypatch.setattr(FakeSession, "finish_listening", finish_listening)

    async def main() -> Passing:
        after = Passing()
        stage = MoshiProcessor(FakeSession())
        worker = PipelineWorker(
            Pipeline([stage, after]), enable_rtvi=False, enable_turn_tracking=False, idle_timeout_secs=None
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await worker.queue_frames([heard(0.25), heard(0.5)])

        async def end() -> None:
            await asyncio.sleep(1.0)
            await (worker.cancel() if hangs_up else worker.queue_frame(EndFrame()))

        ending = asyncio.ensure_future(end())
        await runner.run()
        await ending
        return after

    after = run_simulated(main())
    if broken:
        assert not after.of(TranscriptionFrame)
    else:
        (interim,) = after.of(InterimTranscriptionFrame)
        assert interim.result == pieces
        assert interim.metadata["heard_s"] == pytest.approx(0.16 + 0.5)
        assert [frame.text for frame in after.of(TranscriptionFrame)] == ["goodbye"]
    assert isinstance(after.frames[-1], CancelFrame if hangs_up else EndFrame)


def test_packets_are_assembled_into_frames() -> None:
    engine = FakeEngine()
    pieces = [heard(n / 10, samples=1_000) for n in range(6)]
    _, after = talk(engine, [*pieces])
    said = b"".join(frame.audio for frame in after.of(SpeechOutputAudioRawFrame))
    assert said == b"".join(piece.audio for piece in pieces)[: 3 * 3_840]


def test_a_metrics_frame_precedes_the_speech() -> None:
    _, after = talk(FakeEngine(step_secs=lambda _: 0.03), [heard(0), heard(0)])
    first, second = after.of(EngineMetricsFrame)
    assert first.timings_ms == {"fake": 1.0}
    assert first.delay_ms == pytest.approx(30)
    assert second.delay_ms == pytest.approx(60)  # it had to wait for the first
    assert (first.backlog_frames, second.backlog_frames) == (1, 0)
    assert second.dropped_frames == 0


def test_a_session_that_fails_is_a_permanent_error() -> None:
    before, after = talk(FakeEngine(fails_at=2), [heard(0), heard(0), heard(0)])
    errors = before.of(ErrorFrame)
    assert [error.error for error in errors] == ["The fake engine failed, as asked."]
    assert not errors[0].processor.is_usable
    assert len(after.of(SpeechOutputAudioRawFrame)) == 1


@pytest.mark.parametrize(
    ("pcm", "sentence"),
    [
        (np.zeros(1000, np.float32), "expected float32 [1920] in DuplexStep.pcm, got float32 [1000]"),
        (np.zeros(1920, np.int16), "expected float32 [1920] in DuplexStep.pcm, got int16 [1920]"),
        (None, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_user_s_session_with_invalid_output_ends_the_call_at_once(
    pcm: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was silent until the watchdog expired, or noise."""

    async def outputs(_: FakeSession) -> AsyncIterator[DuplexStep]:
        yield DuplexStep(np.zeros(1920, np.float32) if pcm is None else pcm)
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(FakeSession, "outputs", outputs)
    before, _ = talk(FakeEngine(), [heard(0)])
    (error,) = before.of(ErrorFrame)
    assert error.error.startswith("The engine broke (")
    assert sentence in error.error


def test_a_hanging_session_is_a_permanent_error() -> None:
    before, _ = talk(FakeEngine(step_secs=lambda _: 60), [heard(0)], secs=6, hang_secs=5)
    assert [error.error for error in before.of(ErrorFrame)] == ["The engine gave no answer for 5 s"]


def test_a_slow_session_that_answers_is_not_an_error() -> None:
    before, after = talk(
        FakeEngine(step_secs=lambda _: 4), [heard(0), heard(0), heard(0)], secs=20, hang_secs=5
    )
    assert not before.of(ErrorFrame)
    assert len(after.of(SpeechOutputAudioRawFrame)) == 3


def test_without_input_no_answer_is_overdue() -> None:
    before, _ = talk(FakeEngine(), [heard(0)], secs=60, hang_secs=5)
    assert not before.of(ErrorFrame)


def test_another_rate_is_resampled_and_logged_once(logged: Logged) -> None:
    """With pipecat's default of 16 kHz it used to be a hundred errors, and silence."""
    before, after = talk(FakeEngine(), [heard(0.25, 1_280, rate_hz=16_000) for _ in range(4)])
    assert not before.of(ErrorFrame)
    assert len(after.of(SpeechOutputAudioRawFrame)) == 4
    settled = np.frombuffer(after.of(SpeechOutputAudioRawFrame)[-1].audio, "<i2")
    np.testing.assert_allclose(settled, 0.25 * 32_768, rtol=0.01)
    assert logged.text.count("expects 24000 Hz, got 16000 Hz") == 1
    assert "put Resampler(16000, 24000) before it" in logged.text


def test_a_missing_decoder_is_logged_once() -> None:
    before, _ = talk(FakeEngine(), [MulawInputFrame(bytes(640)) for _ in range(40)])
    (error,) = before.of(ErrorFrame)
    assert error.error == "MoshiProcessor expects PCM audio, got µ-law: put MulawDecoder() before it"
    assert not error.processor.is_usable


def test_mulaw_beside_pcm_is_passed_on() -> None:
    """A branch of a ParallelPipeline may pass it."""
    before, _ = talk(FakeEngine(), [frame for _ in range(20) for frame in (MulawInputFrame(b"x"), heard(0))])
    assert not before.of(ErrorFrame)


def test_the_fake_is_a_mirror() -> None:
    """The tests above need this: the output is the input."""

    async def main() -> None:
        engine = FakeEngine()
        session: FakeSession = engine.open_session()
        frame = np.full(1_920, 0.5, np.float32)
        session.feed(frame)
        async for step in session.outputs():
            assert step.pcm is frame
            await session.close()

    run_simulated(main())
