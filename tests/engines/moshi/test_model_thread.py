"""Jobs in order, failures to their owners, and a hung thread left behind; in simulated time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.sampling import GREEDY
from moshi_phone.engines.moshi.model_thread import Job, ModelThread
from tests.support.tiny_moshi import tiny_lm

WAIT_S = 30.0  # for what comes at once on any machine


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def thread(clock: Clock) -> Iterator[ModelThread]:
    thread = ModelThread(clock)
    yield thread
    thread.stop()


class Hung:
    """A job that hangs until it is let go."""

    def __init__(self, thread: ModelThread, patience_s: float = 3.0) -> None:
        self.entered, self.let_go, self.left = threading.Event(), threading.Event(), threading.Event()
        self.errors: list[BaseException] = []
        thread.submit(Job(self._run, self.errors.append, owner=self, patience_s=patience_s))
        assert self.entered.wait(WAIT_S)

    def _run(self) -> None:
        self.entered.set()
        self.let_go.wait(WAIT_S)
        self.left.set()


def test_runs_jobs_in_order_in_one_thread(thread: ModelThread) -> None:
    order: list[tuple[int, int]] = []
    errors: list[BaseException] = []

    def note(number: int) -> None:
        order.append((number, threading.get_ident()))

    for number in range(5):
        thread.submit(Job(partial(note, number), errors.append))
    thread.call(lambda: None).result(WAIT_S)
    assert [number for number, _ in order] == list(range(5))
    assert not errors
    assert len({ident for _, ident in order}) == 1
    assert order[0][1] != threading.get_ident()


def test_tells_the_owner_of_a_job_that_raises_and_goes_on(thread: ModelThread) -> None:
    errors: list[BaseException] = []
    thread.submit(Job(lambda: 1 // 0, errors.append))  # type: ignore[arg-type]
    assert thread.call(lambda: "on").result(WAIT_S) == "on"
    assert [type(error) for error in errors] == [ZeroDivisionError]
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 // 0).result(WAIT_S)


def test_survives_that_nobody_waits_for_a_result_any_more(thread: ModelThread) -> None:
    entered, release = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        release.wait(WAIT_S)

    running = thread.call(wait)
    waiting = thread.call(lambda: pytest.fail("it was cancelled before it ran"))
    assert entered.wait(WAIT_S)
    assert not running.cancel()
    assert waiting.cancel()
    release.set()
    assert thread.call(lambda: "on").result(WAIT_S) == "on"


def test_leaves_a_hung_thread_behind(thread: ModelThread, clock: Clock) -> None:
    hung = Hung(thread)
    waiting = thread.call(threading.get_ident)
    clock.now_s = 2.9
    assert not thread.abandon_if_hung()
    clock.now_s = 3.0
    assert thread.abandon_if_hung()
    assert [str(error) for error in hung.errors] == ["a step took more than 3 s"]
    after = waiting.result(WAIT_S)  # the queue goes on
    assert not thread.abandon_if_hung()
    hung.let_go.set()
    assert hung.left.wait(WAIT_S)
    assert thread.call(threading.get_ident).result(WAIT_S) == after, "the hung thread must not come back"
    assert len(hung.errors) == 1


def test_may_be_less_patient_with_one_owner(thread: ModelThread, clock: Clock) -> None:
    hung = Hung(thread)
    clock.now_s = 1.5
    assert not thread.abandon_if_hung(owner=object(), patience_s=1.0)
    assert thread.abandon_if_hung(owner=hung, patience_s=1.0)
    hung.let_go.set()


def test_work_without_an_owner_may_take_as_long_as_it_takes(thread: ModelThread, clock: Clock) -> None:
    release = threading.Event()
    result = thread.call(lambda: release.wait(WAIT_S))
    clock.now_s = 1e9
    assert not thread.abandon_if_hung()
    release.set()
    assert result.result(WAIT_S)


def test_another_thread_can_take_over_the_weights(thread: ModelThread, clock: Clock) -> None:
    """What leaving a thread behind relies on: evaluated arrays belong to no thread."""

    def words(session: LanguageSession) -> list[int]:
        return [session.step(frame).text_token for frame in frames]

    model = thread.call(lambda: tiny_lm(dim=32, layers=1, card=16, codebooks=2, context=8)).result(WAIT_S)
    frames = [np.array([number, number], np.uint32) for number in range(6)]
    session = thread.call(lambda: LanguageSession(model, GREEDY, 0)).result(WAIT_S)
    before = thread.call(lambda: words(session)).result(WAIT_S)
    hung = Hung(thread)
    clock.now_s = 10.0
    assert thread.abandon_if_hung()
    again = thread.call(lambda: LanguageSession(model, GREEDY, 0)).result(WAIT_S)
    assert thread.call(lambda: words(again)).result(WAIT_S) == before
    assert len(thread.call(lambda: words(session)).result(WAIT_S)) == len(frames)  # a session may move, too
    hung.let_go.set()


def test_what_can_wait_is_done_when_there_is_nothing_else(thread: ModelThread) -> None:
    blocked, order = threading.Event(), list[str]()
    thread.call(partial(blocked.wait, WAIT_S))
    for name in ("listen 1", "speak 1", "listen 2", "speak 2"):
        note = partial(order.append, name)
        thread.submit(Job(note, errors_are_unexpected, in_spare_time=name.startswith("listen")))
    blocked.set()
    thread.stop()  # rests only when all is done
    assert order == ["speak 1", "speak 2", "listen 1", "listen 2"]


def errors_are_unexpected(error: BaseException) -> None:
    raise AssertionError from error
