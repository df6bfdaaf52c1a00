from __future__ import annotations

from moshi_phone.access.login_throttle import ALL_FAILURES, FORGOTTEN_AFTER_S, LoginThrottle


def test_locks_grow_to_a_minute_and_the_right_password_ends_them() -> None:
    now_s = 0.0
    throttle = LoginThrottle(lambda: now_s)
    waits = []
    for _ in range(14):
        throttle.failed("a")
        waits.append(throttle.wait_s("a"))
        now_s += waits[-1]
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    throttle.passed("a")
    assert throttle.failed("a") == 1
    assert throttle.wait_s("a") == 0


def test_failures_are_forgotten_and_memory_is_bounded() -> None:
    now_s = 0.0
    throttle = LoginThrottle(lambda: now_s)
    throttle.failed("a")
    now_s = FORGOTTEN_AFTER_S
    assert throttle.failed("b") == 1
    assert throttle.failed("a") == 1
    for number in range(10_000):
        throttle.failed(f"source {number}")
    assert len(throttle._failures) <= 4096


def test_unknown_sources_share_one_limit() -> None:
    now_s = 0.0
    throttle = LoginThrottle(lambda: now_s)
    for number in range(ALL_FAILURES):
        assert throttle.wait_s(f"source {number}") == 0
        throttle.failed(f"source {number}")
    assert throttle.wait_s("another") == 1
    assert throttle.wait_s("a device", is_known=True) == 0
    now_s = 1.0
    assert throttle.wait_s("another") == 0
