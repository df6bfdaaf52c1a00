"""Leases, and servers that are out for a while: pure calculation, without a server."""

from __future__ import annotations

import math

import pytest

from moshi_phone.engines.remote.pool import FIRST_PAUSE_S, IDLE_PROBE_S, MAX_PAUSE_S, Backend, BackendPool
from moshi_phone.engines.remote.server import parse_server


def pool_of(*names: str, calls_per_server: int = 1) -> BackendPool:
    """A pool whose servers have all been probed."""
    pool = BackendPool([parse_server(f"ws://{name}:1", "kyutai") for name in names], calls_per_server)
    for backend in pool.due(0.0):
        pool.record_probe(backend, None, 0.0)
    return pool


def leased(pool: BackendPool) -> Backend:
    backend = pool.lease()
    assert backend is not None
    return backend


def test_there_is_no_lease_before_a_probe() -> None:
    pool = BackendPool([parse_server("ws://a:1", "kyutai")])
    assert pool.lease() is None
    assert pool.error == "It has not been probed yet."
    assert pool.due(0.0) == pool.backends


def test_a_server_takes_one_call_by_default() -> None:
    pool = pool_of("a", "b")
    assert pool.free == 2
    first, second = leased(pool), leased(pool)
    assert {first.server.name, second.server.name} == {"a:1", "b:1"}
    assert pool.lease() is None
    assert (pool.calls, pool.free) == (2, 0)
    pool.release(first, 1.0)
    assert leased(pool) is first


def test_calls_go_to_the_server_with_the_most_free_sessions() -> None:
    pool = pool_of("a", "b", calls_per_server=2)
    names = [leased(pool).server.name for _ in range(4)]
    assert names == ["a:1", "b:1", "a:1", "b:1"]
    assert pool.lease() is None


def test_a_lease_is_returned_once() -> None:
    pool = pool_of("a")
    backend = leased(pool)
    pool.release(backend, 0.0)
    with pytest.raises(ValueError, match="expected a lease of a:1, got one more than were given"):
        pool.release(backend, 0.0)


def test_a_failed_server_is_out_and_returns() -> None:
    pool = pool_of("a", "b")
    backend = leased(pool)
    pool.failed(backend, "Server a:1 is gone", 10.0)
    pool.release(backend, 10.0)
    assert leased(pool).server.name == "b:1"
    assert pool.lease() is None
    assert pool.error is None  # b is available
    assert pool.next_probe_s() == 10.0 + FIRST_PAUSE_S
    assert pool.due(10.9) == []
    assert pool.due(11.0) == [backend]
    pool.record_probe(backend, None, 11.0)
    assert leased(pool) is backend


def test_pauses_grow_up_to_a_maximum() -> None:
    pool = pool_of("a")
    (backend,) = pool.backends
    pauses, now_s = list[float](), 0.0
    pool.failed(backend, "gone", now_s)
    for _ in range(9):
        pauses.append(pool.next_probe_s() - now_s)
        now_s = pool.next_probe_s()
        pool.record_probe(backend, "gone", now_s)
    assert pauses == [1, 2, 4, 8, 16, 32, MAX_PAUSE_S, MAX_PAUSE_S, MAX_PAUSE_S]
    assert pool.error == "gone."


def test_a_server_that_answers_probes_but_fails_calls_is_tried_less_often() -> None:
    pool = pool_of("a")
    (backend,) = pool.backends
    now_s, pauses = 0.0, list[float]()
    for _ in range(4):
        assert leased(pool) is backend
        pool.failed(backend, "no handshake", now_s)
        pool.release(backend, now_s)
        pauses.append(pool.next_probe_s() - now_s)
        now_s = pool.next_probe_s()
        pool.record_probe(backend, None, now_s)
    assert pauses == [1, 2, 4, 8]
    pool.reached(leased(pool))
    pool.failed(backend, "died", now_s)
    assert pool.next_probe_s() - now_s == FIRST_PAUSE_S


def test_idle_servers_are_probed_and_busy_ones_are_not() -> None:
    pool = pool_of("a", "b")
    assert pool.due(IDLE_PROBE_S) == pool.backends
    busy = leased(pool)
    assert pool.due(IDLE_PROBE_S) == [backend for backend in pool.backends if backend is not busy]
    pool.record_probe(pool.backends[1], "Server b:1 is gone", IDLE_PROBE_S)
    assert pool.lease() is None
    pool.failed(busy, "Server a:1 is gone too.", 20.0)
    assert pool.error == "Server a:1 is gone too. Server b:1 is gone."
    assert busy in pool.due(21.0)  # it is out, whatever it holds


def test_a_pool_of_busy_servers_probes_none() -> None:
    pool = pool_of("a")
    pool.lease()
    assert pool.next_probe_s() == math.inf
