"""The pool of codecs: loading, lending, replacing, and its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from moshi_phone.engines.duplex import EngineBusy, EngineUnavailable
from moshi_phone.engines.moshi.codec.codec_pool import MimiPool
from tests.engines.moshi.codec.test_codec import noise
from tests.support.fake_timer import Laters
from tests.support.logs import Logged
from tests.support.waiting import wait_until


def test_says_so_when_it_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "mimi").write_bytes(b"nothing of the kind")
    with pytest.raises(EngineUnavailable, match=r"mimi cannot be loaded by Mimi: [^\n]+$"):
        MimiPool(tmp_path / "mimi", size=1).fill()


def test_says_so_when_none_is_free(mimi_file: Path) -> None:
    with pytest.raises(EngineBusy, match="try again in a second"):
        MimiPool(mimi_file, size=1).take()


def test_those_near_their_limit_are_replaced_between_calls(mimi_file: Path) -> None:
    pool = MimiPool(mimi_file, size=1, limit_frames=16)
    pool.fill()
    near_limit = pool.take()
    for number in range(4):
        near_limit.encode(noise(number))
    assert near_limit.near_limit
    near_limit.clean()
    pool._keep(near_limit)
    assert pool.ready == 1, "it can still be taken while another is made"
    pool.replace()
    wait_until(lambda: not pool._wanted)
    assert pool.ready == 1
    assert pool.take() is not near_limit


def test_a_reload_that_fails_is_tried_again_until_it_works(mimi_file: Path, logged: Logged) -> None:
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
    assert pool.ready == 2
    assert laters.secs == [1.0, 2.0]
    assert sum("Mimi cannot be loaded" in line for line in logged.lines) == 2


def test_closing_waits_for_what_is_being_loaded(mimi_file: Path) -> None:
    pool = MimiPool(mimi_file, size=1, limit_frames=16)
    loading = pool.load_async()
    pool.close()
    assert loading.done()


def test_loads_no_more_once_it_is_closed(mimi_file: Path) -> None:
    laters = Laters()
    pool = MimiPool(mimi_file / "gone", size=2, limit_frames=16, run_later=laters)
    pool.replace()
    wait_until(lambda: laters.secs == [1.0])
    pool.close()
    laters.run()
    pool.fill()
    assert (pool.ready, laters.secs) == (0, [1.0])
