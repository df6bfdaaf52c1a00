"""server/net/connection_checks.py in simulated time."""

from __future__ import annotations

import asyncio
import time

import pytest

from moshi_phone.server.net import connection_checks
from moshi_phone.server.net.connection_checks import ConnectionChecks
from tests.support.logs import Logged
from tests.support.simulated import run_simulated
from tests.support.waiting import until


def test_all_are_checked_at_the_same_times() -> None:
    async def test() -> None:
        loop, checks, calls = asyncio.get_running_loop(), ConnectionChecks(0.5), list[tuple[str, float]]()

        def first(_: bool) -> None:
            calls.append(("first", loop.time() - began_s))

        def second(_: bool) -> None:
            calls.append(("second", loop.time() - began_s))
            checks.remove(second)

        began_s = loop.time()
        checks.add(first, loop)
        await asyncio.sleep(0.2)
        checks.add(second, loop)
        await asyncio.sleep(1.0)
        checks.remove(first)
        checks.remove(first)
        await asyncio.sleep(5)
        assert [(name, round(at_s, 3)) for name, at_s in calls] == [
            ("first", 0.5),
            ("second", 0.5),
            ("first", 1.0),
        ]

    run_simulated(test())


def test_an_error_ends_no_other_check(logged: Logged) -> None:
    async def test() -> None:
        loop, checks, calls = asyncio.get_running_loop(), ConnectionChecks(0.5), list[bool]()

        def fail(_: bool) -> None:
            raise ValueError("a defect")

        checks.add(fail, loop)
        checks.add(calls.append, loop)
        await asyncio.sleep(1.2)
        assert calls == [False, False]
        assert "could not be checked" in logged.text

    run_simulated(test())


async def test_a_suspended_process_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_checks, "LATE_S", 0.01)
    loop, checks, calls = asyncio.get_running_loop(), ConnectionChecks(0.01), list[bool]()

    def check(was_suspended: bool) -> None:
        calls.append(was_suspended)

    checks.add(check, loop)
    time.sleep(0.05)  # noqa: ASYNC251 - blocks the loop, like a suspension
    await until(lambda: calls)
    checks.remove(check)
    assert calls[0]
