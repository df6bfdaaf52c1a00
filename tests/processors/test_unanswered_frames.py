from __future__ import annotations

import asyncio

import pytest

from moshi_phone.testing import run_simulated
from processors.unanswered_frames import UnansweredFrames


def test_answers_get_the_feed_times_of_their_frames_and_dropped_frames_are_forgotten() -> None:
    async def main() -> None:
        start_s = asyncio.get_running_loop().time()
        unanswered = UnansweredFrames(5, lambda: None)
        for _ in range(4):  # at 0, 1, 2 and 3 s
            unanswered.feed()
            await asyncio.sleep(1)
        assert unanswered.fed_s == 4 * 0.08
        assert unanswered.answer(3) - start_s == pytest.approx(0)
        assert unanswered.answer(1) - start_s == pytest.approx(2)  # the second frame was dropped
        assert unanswered.answer(0) - start_s == pytest.approx(3)
        assert unanswered.answer(0) - start_s == pytest.approx(4)  # now: an answer without a frame
        unanswered.stop()

    run_simulated(main())


@pytest.mark.parametrize(
    ("answers", "is_overdue"),
    [
        ([], True),
        ([(4.0, 1)], True),  # one of two is answered
        ([(4.0, 1), (8.0, 0)], False),  # each in time
        ([(4.0, 0)], False),  # the other was dropped
    ],
)
def test_an_answer_is_overdue_after_the_timeout(answers: list[tuple[float, int]], is_overdue: bool) -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        overdue_s: list[float] = []
        unanswered = UnansweredFrames(5, lambda: overdue_s.append(loop.time()))
        unanswered.feed()
        unanswered.feed()
        for at_s, backlog_frames in answers:
            loop.call_later(at_s, unanswered.answer, backlog_frames)
        await asyncio.sleep(60)
        return overdue_s

    assert len(run_simulated(main())) == is_overdue


def test_a_second_frame_does_not_postpone_the_timeout_and_stopping_cancels_it() -> None:
    async def main(*, stops: bool) -> list[float]:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        overdue_s: list[float] = []
        unanswered = UnansweredFrames(5, lambda: overdue_s.append(loop.time() - start_s))
        unanswered.feed()
        await asyncio.sleep(4)
        unanswered.feed()
        if stops:
            unanswered.stop()
            unanswered.stop()
        await asyncio.sleep(4)
        return overdue_s

    assert run_simulated(main(stops=False)) == [pytest.approx(5)]
    assert run_simulated(main(stops=True)) == []
