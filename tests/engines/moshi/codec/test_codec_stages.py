"""codec/codec_stages.py: frames in flight, and how the stages end; with instant codecs and no model."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

import pytest

from moshi_phone.audio.formats import Pcm
from moshi_phone.engines.backlog import LIMIT_FRAMES
from moshi_phone.engines.duplex import DuplexStep
from moshi_phone.engines.moshi.codec import codec_stages
from moshi_phone.engines.moshi.codec.codec_stages import STAGES, CallerFrame, CodecStages
from moshi_phone.engines.moshi.model.language_model import LanguageStep
from tests.engines.moshi.surroundings import Coder, frame, tokens_of
from tests.support.waiting import until


class Stages:
    """Both stages, with a model between them that returns its input when the test releases it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.coder, self.encoded = Coder(), deque[CallerFrame]()
        self.given, self.failures = list[DuplexStep](), list[str]()
        self.stages = CodecStages(
            self.coder,  # type: ignore[arg-type]
            self.coder,  # type: ignore[arg-type]
            encoded=self.encoded.append,
            answer=self._answer,
            give=self.given.append,
            failed=lambda stage, error: self.failures.append(f"{stage}: {error!r}"),
            tell=self._tell,
        )
        self.stages.start()

    def _tell(self, what: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(what)

    @staticmethod
    def _answer(frame: CallerFrame, _: LanguageStep, pcm: Pcm | None) -> DuplexStep:
        return DuplexStep(pcm, str(frame.number), frame.timings_ms)

    async def answer(self, count: int) -> None:
        """Pass on the oldest encoded frames, as the model does."""
        for _ in range(count):
            await until(lambda: bool(self.encoded))
            one = self.encoded.popleft()
            self.stages.decode(one, LanguageStep(0, one.caller_tokens))


async def test_frames_come_out_in_order_with_their_times() -> None:
    line = Stages()
    line.stages.begin()
    for number in range(3):
        assert line.stages.push(frame(number))
    await line.answer(3)
    await until(lambda: len(line.given) == 3)
    for number, step in enumerate(line.given):
        assert tokens_of(step) == line.coder.encode(frame(number)).tolist()
        assert (step.text, list(step.timings_ms)) == (str(number), ["encode", "decode"])
    assert (line.stages.frames, line.stages.end(), line.stages.end()) == (0, True, False)
    await line.stages.wait_released()
    assert (line.stages.hung, line.coder.released, line.failures) == ([], 2, [])


async def test_at_most_three_frames_are_in_flight_and_numbers_include_dropped_ones() -> None:
    line = Stages()
    for number in range(LIMIT_FRAMES + 2):
        line.stages.push(frame(number))
    await asyncio.sleep(0.02)
    assert not line.encoded, "the model's session does not exist yet"
    assert (line.stages.frames, line.stages.dropped_frames) == (LIMIT_FRAMES, 2)
    line.stages.begin()
    await until(lambda: len(line.encoded) == STAGES)
    await asyncio.sleep(0.02)
    assert [one.number for one in line.encoded] == [2, 3, 4]
    await line.answer(LIMIT_FRAMES)
    await until(lambda: len(line.given) == LIMIT_FRAMES)
    assert line.stages.frames == 0
    line.stages.end()
    await line.stages.wait_released()


@pytest.mark.parametrize("begun", [True, False])
async def test_the_end_is_reported_once_all_frames_are_encoded(*, begun: bool) -> None:
    line, last = Stages(), list[int]()
    if begun:
        line.stages.begin()
    line.stages.push(frame(0))
    line.stages.push(frame(1))
    assert line.stages.finish(last.append) is begun
    assert not line.stages.push(frame(2))
    if begun:
        await until(lambda: last == [2])
        assert [one.number for one in line.encoded] == [0, 1]
    line.stages.end()
    await line.stages.wait_released()
    assert last == [2][: len(last)]
    assert bool(last) is begun


async def test_a_hanging_codec_is_reported_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_stages, "CLOSE_GRACE_S", 0.05)
    line, hangs, go_on = Stages(), threading.Event(), threading.Event()

    def hang(_: Pcm, coder: Coder) -> None:
        hangs.set()
        go_on.wait(60)

    line.coder.encode = partial(hang, coder=line.coder)  # type: ignore[method-assign, assignment]
    line.stages.begin()
    line.stages.push(frame(0))
    assert await asyncio.to_thread(hangs.wait, 60)
    line.stages.end()
    await line.stages.wait_released()
    assert len(line.stages.hung) == 1
    go_on.set()
    await until(lambda: not line.stages.hung)


@pytest.mark.parametrize("stage", ["encoder", "decoder"])
async def test_a_codec_that_raises_names_its_stage(stage: str) -> None:
    line = Stages()
    setattr(line.coder, stage.removesuffix("r"), lambda _: 1 // 0)
    line.stages.begin()
    line.stages.push(frame(0))
    if stage == "decoder":
        await line.answer(1)
    await until(lambda: bool(line.failures))
    assert line.failures[0].startswith(f"the {stage}: ZeroDivisionError")
    line.stages.end()
    await line.stages.wait_released()
    assert line.coder.released == 2
