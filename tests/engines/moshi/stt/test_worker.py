"""Transcription in spare time: each word with its time; frames are skipped if there is none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from moshi_phone.engines.duplex import CallerText
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.engines.moshi.model_thread import Batch, Job, JobQueue
from moshi_phone.engines.moshi.stt.session import ListeningSession
from moshi_phone.engines.moshi.stt.worker import (
    WAITING_FRAMES,
    TimedTranscript,
    TranscriptionWorker,
    listening_batch,
)
from moshi_phone.vendor.moshi_mlx.models.lm import Lm
from tests.engines.moshi.stt.test_session import listening_lm
from tests.support.logs import Logged
from tests.support.tiny_listening import HEADS, caller

DELAY_S = 0.5


class SpareTime:
    """Spare-time work that runs when a test calls for it."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Callable[[], object], Callable[[BaseException], None], Batch]] = deque()
        self.needs_s: Callable[[], float] = lambda: 0.0

    def __call__(
        self,
        work: Callable[[], object],
        failed: Callable[[BaseException], None],
        needs_s: Callable[[], float],
        batch: Batch,
    ) -> None:
        self.jobs.append((work, failed, batch))
        self.needs_s = needs_s

    def pass_by(self) -> None:
        while self.jobs:
            work, failed, batch = self.jobs.popleft()
            try:
                if (part := work()) is not None:
                    batch.run([part])
            except Exception as error:
                failed(error)


class Pieces:
    """Tokens as text; every third is padding."""

    def push(self, token: int) -> str:
        return f" {token}" if token % 3 else ""


@pytest.fixture(scope="module")
def model() -> Lm:
    return listening_lm()


def listener(
    model: Lm, spare: SpareTime, silence: list[Tokens] | None = None, final_silence: Sequence[Tokens] = ()
) -> TranscriptionWorker:
    words = TimedTranscript(Pieces(), DELAY_S)  # type: ignore[arg-type]
    return TranscriptionWorker(
        lambda: ListeningSession(model),
        words,
        spare,
        listening_batch(1),
        silence or [],
        final_silence=final_silence,
    )


def expected(model: Lm, frames: list[tuple[int, Tokens]]) -> list[CallerText]:
    session = ListeningSession(model)
    tokens = [(number, session.step(frame)) for number, frame in frames]
    return [
        CallerText(f" {token}", max(0.0, (number + 1) * 0.08 - DELAY_S))
        for number, token in tokens
        if token % 3
    ]


def test_gives_each_word_once_with_its_time(model: Lm) -> None:
    spare = SpareTime()
    ear = listener(model, spare)
    frames = list(enumerate(caller(30)))
    heard: list[CallerText] = []
    for number, tokens in frames:
        ear.hear(number, tokens)
        if number % 4 == 0:  # spare time comes when it comes
            spare.pass_by()
        heard += ear.take().text
    spare.pass_by()
    last = ear.take()
    heard += last.text
    assert heard == expected(model, frames)
    assert len(last.pause_probabilities) == HEADS
    assert last.step_ms is not None
    assert ear.take().step_ms is None
    assert ear.untranscribed_frames == 0
    assert spare.needs_s() > 0


def test_without_spare_time_the_oldest_frames_are_skipped_and_logged_once(model: Lm, logged: Logged) -> None:
    spare = SpareTime()
    ear = listener(model, spare)
    frames = list(enumerate(caller(WAITING_FRAMES + 5)))
    for number, tokens in frames:
        ear.hear(number, tokens)
    assert len(spare.jobs) == WAITING_FRAMES, "work must not pile up either"
    spare.pass_by()
    assert ear.untranscribed_frames == 5
    assert list(ear.take().text) == expected(model, frames[5:])
    assert [line for line in logged.lines if "Transcription cannot keep up" in line] == logged.lines
    assert len(logged.lines) == 1


def test_the_model_s_leading_silence_takes_no_time_of_the_call(model: Lm) -> None:
    spare = SpareTime()
    silence = [np.full(32, 7, np.uint32)] * 20
    ear = listener(model, spare, silence)
    frames = list(enumerate(caller(10)))
    for number, tokens in frames:
        ear.hear(number, tokens)
    spare.pass_by()
    assert ear.untranscribed_frames == 0
    all_frames = [*zip(range(-20, 0), silence, strict=True), *frames]
    assert list(ear.take().text) == expected(model, all_frames)


def test_the_final_silence_is_not_skipped_and_its_end_is_reported_once(model: Lm) -> None:
    spare, told = SpareTime(), list[int]()
    frames = list(enumerate(caller(WAITING_FRAMES + 19)))
    ear = listener(model, spare, final_silence=[tokens for _, tokens in frames[WAITING_FRAMES:]])
    for number, tokens in frames[:WAITING_FRAMES]:
        ear.hear(number, tokens)
    ear.finish(WAITING_FRAMES, lambda: told.append(len(ear.take().text)))
    assert not told
    spare.pass_by()
    assert told == [len(expected(model, frames))]
    assert ear.untranscribed_frames == 0
    ear.close()
    assert len(told) == 1


@pytest.mark.parametrize("why", ["over before", "over meanwhile", "no silence"])
def test_waiters_for_the_end_are_always_released(model: Lm, why: str) -> None:
    told = list[str]()
    ear = listener(model, SpareTime(), final_silence=list(caller(0 if why == "no silence" else 3)))
    if why == "over before":
        ear.close()
    ear.finish(20, lambda: told.append("finished"))
    ear.close()
    assert told == ["finished"]


def test_a_model_that_fails_ends_the_listening_and_nothing_else(model: Lm, logged: Logged) -> None:
    spare = SpareTime()
    ear = listener(model, spare)
    ear.hear(0, np.zeros(8, np.uint32))  # too few
    ear.hear(1, caller(1)[0])
    spare.pass_by()
    ear.hear(2, caller(1)[0])
    assert not spare.jobs
    assert ear.take().text == ()
    assert len([line for line in logged.lines if "not listened to: caller_tokens: expected" in line]) == 1
    ear.close()


def test_nothing_is_transcribed_after_the_end(model: Lm) -> None:
    spare = SpareTime()
    ear = listener(model, spare)
    ear.hear(0, caller(1)[0])
    spare.pass_by()
    ear.hear(1, caller(1)[0])
    ear.close()
    ear.close()
    spare.pass_by()
    ear.hear(2, caller(1)[0])
    assert not spare.jobs
    assert ear._session is not None
    assert ear._session._rings is None


def test_work_of_an_ended_call_needs_no_spare_time(model: Lm) -> None:
    jobs, talking = JobQueue(), object()

    def in_spare_time(
        work: Callable[[], object],
        failed: Callable[[BaseException], None],
        needs_s: Callable[[], float],
        batch: Batch,
    ) -> None:
        jobs.put(Job(work, failed, in_spare_time=True, needs_s=needs_s, batch=batch), 0.0)

    words = TimedTranscript(Pieces(), DELAY_S)  # type: ignore[arg-type]
    ear = TranscriptionWorker(lambda: ListeningSession(model), words, in_spare_time, listening_batch(1))
    ear._recent_ms.extend([70.0])
    ear.hear(0, caller(1)[0])
    jobs.put(Job(lambda: None, lambda _: None, talking, period_s=0.05), 0.0)
    assert jobs.take(0.0)
    assert not jobs.take(0.0), "it needs 70 ms, and the talk is due in 50"
    ear.close()
    assert jobs.take(0.0), "or it would wait for as long as anybody talks"
    assert len(jobs) == 0


def test_the_step_time_is_estimated_and_lowered_after_long_waiting(model: Lm) -> None:
    spare = SpareTime()
    ear = listener(model, spare)
    ear.hear(0, caller(1)[0])
    spare.pass_by()
    assert spare.needs_s() == 0, "the first step makes the cache, and tells nothing"
    ear._recent_ms.extend([60, 61, 900, 59, 60])
    assert spare.needs_s() == pytest.approx(0.060)
    for number in range(WAITING_FRAMES + 300):
        ear.hear(number, caller(1)[0])
    assert spare.needs_s() < 0.02
    spare.pass_by()
    assert spare.needs_s() > 0
    assert ear._doubt == 1.0
