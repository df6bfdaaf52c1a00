"""After a lost call: tested at once, then at growing intervals, until the model works or the engine stops."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moshi_phone.engines.moshi.model_thread import ModelThread
from moshi_phone.engines.moshi.recovery import Recovery
from tests.support.fake_timer import Laters
from tests.support.logs import Logged

WAIT_S = 30.0


class Model:
    """Fails a given number of times, and counts its tests."""

    fails = 0
    tries = 0

    def __call__(self) -> None:
        self.tries += 1
        if self.tries <= self.fails:
            raise MemoryError("no memory")


@pytest.fixture
def thread() -> Iterator[ModelThread]:
    thread = ModelThread()
    yield thread
    thread.stop()


def settled(thread: ModelThread) -> None:
    thread.call(lambda: None).result(WAIT_S)


def test_one_test_is_enough_if_the_model_works(thread: ModelThread) -> None:
    laters, model = Laters(), Model()
    recovery = Recovery(thread, model, 3.0, laters)
    assert recovery.error is None
    recovery.begin("a call was lost")
    settled(thread)
    assert (recovery.error, model.tries, laters.secs) == (None, 1, [])


def test_it_retries_for_ever_and_starts_with_short_pauses_again(thread: ModelThread, logged: Logged) -> None:
    laters, model = Laters(), Model()
    model.fails = 8
    recovery = Recovery(thread, model, 3.0, laters)
    recovery.begin("a call was lost")
    for tries in range(1, 9):
        settled(thread)
        assert model.tries == tries
        assert recovery.error == f"Moshi's model does not work; the next test is in {laters.secs[-1]:g} s."
        laters.run()
    settled(thread)
    assert recovery.error is None
    assert laters.secs == [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 60.0, 60.0]
    assert "works again" in logged.lines[-1]
    model.fails = model.tries + 1
    recovery.begin("another call was lost")
    settled(thread)
    assert laters.secs[-1] == 1.0


def test_calls_lost_meanwhile_start_no_second_test(thread: ModelThread) -> None:
    laters, model = Laters(), Model()
    model.fails = 2
    recovery = Recovery(thread, model, 3.0, laters)
    for _ in range(5):
        recovery.begin("a call was lost")
        settled(thread)
    assert (model.tries, laters.secs) == (1, [1.0])


def test_it_stops_when_closed(thread: ModelThread) -> None:
    laters, model = Laters(), Model()
    model.fails = 9
    recovery = Recovery(thread, model, 3.0, laters)
    recovery.begin("a call was lost")
    settled(thread)
    recovery.close()
    laters.run()
    settled(thread)
    recovery.begin("too late")
    settled(thread)
    assert model.tries == 1
