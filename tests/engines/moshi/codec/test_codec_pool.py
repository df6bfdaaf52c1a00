"""The pool of codecs: loading, lending, replacing, closing."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest

from moshi_phone.engines.duplex import EngineBusy, EngineUnavailable
from moshi_phone.engines.moshi.codec.codec_pool import MimiPool
from tests.engines.moshi.codec.test_codec import noise
from tests.support.fake_timer import Laters
from tests.support.logs import Logged
from tests.support.waiting import wait_until

MB = 1_000_000


def test_a_failed_load_is_reported(tmp_path: Path) -> None:
    (tmp_path / "mimi").write_bytes(b"nothing of the kind")
    with pytest.raises(EngineUnavailable, match=r"mimi cannot be loaded by Mimi: [^\n]+$"):
        MimiPool(tmp_path / "mimi", size=1).fill()


def test_an_empty_pool_is_reported(mimi_file: Path) -> None:
    with pytest.raises(EngineBusy, match="try again in a second"):
        MimiPool(mimi_file, size=1).take()


@pytest.mark.cpu_bound
def test_a_used_up_codec_is_replaced_and_its_memory_freed(mimi_file: Path) -> None:
    pool = MimiPool(mimi_file, size=1, limit_frames=64)
    pool.fill()
    used_up, other = pool.take(), pool.take()
    for number in range(60):
        used_up.encode(noise(number))
    assert used_up.is_used_up
    held_bytes = psutil.Process().memory_info().rss
    pool.give_back(used_up)
    wait_until(lambda: not pool._wanted)
    assert psutil.Process().memory_info().rss < held_bytes + 50 * MB, "one went, another came"
    assert pool.ready == 1
    assert pool.take() is not used_up
    pool.give_back(other)


@pytest.mark.cpu_bound
def test_half_used_codecs_are_replaced_while_no_call_runs(mimi_file: Path) -> None:
    """Loading a codec holds the GIL for a second or more, which would interrupt calls."""
    pool = MimiPool(mimi_file, size=1, limit_frames=64)
    pool.fill()
    half_used, talking = pool.take(), pool.take()
    for number in range(40):
        half_used.encode(noise(number))
    pool.give_back(half_used)
    assert not pool._wanted, "somebody talks"
    pool.give_back(talking)
    wait_until(lambda: not pool._wanted)
    assert pool.ready == 2
    assert half_used not in (pool.take(), pool.take())


def test_a_spare_is_lent_in_addition_to_the_calls_codecs(mimi_file: Path) -> None:
    pool = MimiPool(mimi_file, size=1, limit_frames=64)
    pool.fill()
    spare = pool.take_spare()
    assert spare is not None
    assert pool.take_spare() is None
    pool.take()
    pool.return_spare(spare, spare)
    assert pool.take_spare() is spare
    lent = threading.Event()

    def borrow() -> None:
        with pool.borrow():
            lent.set()

    pool.run(borrow, "borrower")
    assert not lent.wait(0.1)
    pool.return_spare(spare, spare)
    assert lent.wait(10)
    pool.close()


@pytest.mark.parametrize(("calls", "spares"), [(1, 1), (4, 1), (5, 2), (16, 4)])
def test_the_number_of_spares_follows_the_number_of_calls(tmp_path: Path, calls: int, spares: int) -> None:
    assert MimiPool(tmp_path, size=2 * calls).spares == spares


def test_a_failed_reload_is_retried_until_it_succeeds(mimi_file: Path, logged: Logged) -> None:
    laters = Laters()
    pool = MimiPool(mimi_file, size=2, limit_frames=16, run_later=laters)
    pool._path = mimi_file / "gone"
    for _ in range(3):  # never more at once than the pool holds
        pool.replace()
    for pause_secs in (1.0, 2.0):
        wait_until(lambda secs=pause_secs: laters.secs[-1:] == [secs])  # type: ignore[misc]
        assert pool.ready == 0
        if pause_secs == 2.0:
            pool._path = mimi_file
        laters.run()
    wait_until(lambda: not pool._wanted)
    assert pool.ready == 3
    assert laters.secs == [1.0, 2.0]
    assert sum("Mimi cannot be loaded" in line for line in logged.lines) == 2


def test_closing_waits_for_a_running_load(mimi_file: Path) -> None:
    pool = MimiPool(mimi_file, size=1, limit_frames=16)
    loading = pool.load_async()
    pool.close()
    assert loading.done()


def test_a_closed_pool_loads_nothing(mimi_file: Path) -> None:
    laters = Laters()
    pool = MimiPool(mimi_file / "gone", size=2, limit_frames=16, run_later=laters)
    pool.replace()
    wait_until(lambda: laters.secs == [1.0])
    pool.close()
    laters.run()
    pool.fill()
    assert (pool.ready, laters.secs) == (0, [1.0])
