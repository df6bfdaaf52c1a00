from __future__ import annotations

from moshi_phone.access.token_bucket import TokenBucket


def test_a_burst_and_then_a_rate() -> None:
    bucket = TokenBucket(3, 0.5, now_s=10)
    assert [bucket.take(10) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s(10) == 4  # one is owed
    assert bucket.wait_s(13) == 1
    assert bucket.take(14)
    assert not bucket.take(15)


def test_it_holds_no_more_than_the_burst() -> None:
    bucket = TokenBucket(2, 10, now_s=0)
    assert [bucket.take(1000) for _ in range(3)] == [True, True, False]
