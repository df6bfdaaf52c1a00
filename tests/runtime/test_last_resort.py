from __future__ import annotations

import threading

from moshi_phone.runtime.last_resort import LastResort
from tests.support.waiting import wait_until


class Ended:
    """Records the exit code with which the process would have ended."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.resort = LastResort(self.codes.append)


def test_it_ends_the_process() -> None:
    ended = Ended()
    ended.resort.arm(0.01, 3)
    wait_until(lambda: ended.codes == [3])


def test_the_earliest_deadline_counts() -> None:
    ended = Ended()
    ended.resort.arm(60, 1)
    ended.resort.arm(0.01, 2)
    ended.resort.arm(30, 3)
    wait_until(lambda: ended.codes == [2])


def test_it_can_be_cancelled() -> None:
    ended = Ended()
    ended.resort.arm(0.05, 1)
    ended.resort.disarm()
    assert not threading.Event().wait(0.2)
    assert ended.codes == []
