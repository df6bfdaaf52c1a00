"""A stage passes audio past pipecat's observers if there are none, and to all of them otherwise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pipecat.frames.frames import (
    BotSpeakingFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    FrameProcessorPauseUrgentFrame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    TextFrame,
    TTSStartedFrame,
)
from pipecat.observers.base_observer import BaseObserver, FrameProcessed, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.workers.runner import WorkerRunner

from moshi_phone.testing.engine import FakeSession
from pipelines.call_worker import CallWorker
from processors.frames import EngineMetricsFrame, MarkOutputFrame, SendMetricsFrame
from processors.moshi import MoshiProcessor
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.playout import PlayoutGovernor
from processors.resampler import Resampler
from processors.stage import Stage
from tests.support.logs import Logged

HEARD = InputAudioRawFrame(bytes(1280), 8_000, num_channels=1)
SAID = OutputAudioRawFrame(bytes(1280), 8_000, num_channels=1)
MEASURED = EngineMetricsFrame(1.0, {}, 0, 0)
FREQUENT = [HEARD, MEASURED, SAID, MarkOutputFrame("m"), BotSpeakingFrame(), TTSStartedFrame()]


class Seen(Stage):
    """Records the frames that it processes."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        await self.push_frame(frame, direction)


class Measured(Seen):
    """Reads the engine's metrics frames as well."""

    reads = (EngineMetricsFrame,)


class Broken(Stage):
    """Fails on audio."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            raise ValueError("no ears")
        await self.push_frame(frame, direction)


class Observer(BaseObserver):
    """Records each push and each processing of audio and text, with the stage."""

    def __init__(self) -> None:
        super().__init__()
        self.pushed: list[tuple[str, Frame]] = []
        self.processed: list[tuple[str, Frame]] = []

    async def on_push_frame(self, data: FramePushed) -> None:
        self.pushed.append((data.source.name, data.frame))

    async def on_process_frame(self, data: FrameProcessed) -> None:
        self.processed.append((data.processor.name, data.frame))


async def run(worker: CallWorker, frames: list[Frame]) -> None:
    async def feed() -> None:
        await worker.queue_frames([*frames, EndFrame()])

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), feed())


def worker_of(*stages: Stage, **options: Any) -> CallWorker:
    quiet = {"idle_timeout_secs": None, "enable_turn_tracking": False, "enable_rtvi": False}
    return CallWorker(Pipeline([*stages]), **{**quiet, **options})


def passed(stage: Seen) -> list[Frame]:
    return [frame for frame in stage.frames if frame in FREQUENT or isinstance(frame, TextFrame)]


@pytest.mark.parametrize("observers", [[], [Observer()]])
async def test_frames_pass_in_order_with_observers_and_without(observers: list[BaseObserver]) -> None:
    first, last = Measured(), Measured()
    worker = worker_of(first, Seen(), last, observers=observers)
    assert worker.is_observed == bool(observers)
    text = TextFrame("hello")
    await run(worker, [HEARD, text, *FREQUENT[1:]])
    assert sorted(frame.id for frame in passed(last)) == sorted(frame.id for frame in (text, *FREQUENT))
    assert [frame for frame in passed(last) if frame is not text] == [
        frame for frame in passed(first) if frame is not text
    ]


async def test_an_observer_sees_frequent_frames_at_every_stage() -> None:
    stages, observer = [Measured(), Measured()], Observer()
    await run(worker_of(*stages, observers=[observer]), FREQUENT)
    expected = {(stage.name, frame.id) for stage in stages for frame in FREQUENT}
    assert expected <= {(name, frame.id) for name, frame in observer.pushed}
    assert expected <= {(name, frame.id) for name, frame in observer.processed}


async def test_an_observer_added_later_sees_later_frames() -> None:
    stage, observer = Seen(), Observer()
    worker = worker_of(stage)

    class Adds(Seen):
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            if isinstance(frame, TextFrame):
                worker.add_observer(observer)
            await super().process_frame(frame, direction)

    await run(worker, [])
    assert not worker.is_observed
    stage = Seen()
    worker = worker_of(Adds(), stage)
    later = OutputAudioRawFrame(bytes(2), 8_000, num_channels=1)
    await run(worker, [SAID, TextFrame("now"), later])
    assert worker.is_observed
    assert (stage.name, later) in observer.pushed
    assert (stage.name, SAID) not in observer.pushed


async def test_a_stage_s_own_handlers_see_audio() -> None:
    stage = Seen()
    seen: list[Frame] = []

    async def on_before_push_frame(_: Stage, frame: Frame) -> None:
        seen.append(frame)

    stage.add_event_handler("on_before_push_frame", on_before_push_frame)
    await run(worker_of(stage), [SAID])
    assert SAID in seen


async def test_metrics_frames_reach_only_the_stages_that_read_them() -> None:
    blind, reading = Seen(), Measured()
    await run(worker_of(blind, reading), [MEASURED, SAID, SendMetricsFrame(1)])
    assert passed(blind) == [SAID]
    assert passed(reading) == [MEASURED, SAID]


@pytest.mark.parametrize("observers", [[], [Observer()]])
async def test_a_failing_stage_pushes_an_error_frame(observers: list[BaseObserver]) -> None:
    first = Seen()
    await run(worker_of(first, Broken(), observers=observers), [HEARD])
    (error,) = [frame for frame in first.frames if isinstance(frame, ErrorFrame)]
    assert "no ears" in error.error


async def test_pausing_a_stage_has_no_effect_and_is_logged(logged: Logged) -> None:
    stage = Seen()
    await run(worker_of(stage), [FrameProcessorPauseUrgentFrame(processor=stage), SAID])
    assert passed(stage) == [SAID]
    assert logged.text.count(f"{stage.name} cannot be paused") == 1


def test_pipecat_s_base_class_must_come_first() -> None:
    """After it, a transport's handling of audio was bypassed as well: neither a TTS nor a clip was heard."""
    with pytest.raises(TypeError, match="expected BaseOutputTransport before Stage"):

        class Wrong(Stage, BaseOutputTransport):
            pass


def test_stages_are_named_as_pipecat_s_are() -> None:
    named: list[Stage] = [
        MulawDecoder(name="in"),
        Resampler(8_000, 24_000, name="up"),
        MoshiProcessor(FakeSession(), name="Anna"),
        PlayoutGovernor(name="lead"),
        MulawEncoder(name="out"),
    ]
    assert [stage.name for stage in named] == ["in", "up", "Anna", "lead", "out"]
