from __future__ import annotations

from moshi_phone.runtime.rate_limited_log import RateLimitedLog
from tests.support.logs import Logged


def test_one_line_every_ten_seconds_with_the_count_of_the_others(logged: Logged) -> None:
    now_s = 0.0
    log = RateLimitedLog(lambda: now_s)
    for tick in range(250):
        now_s = tick / 10
        log.warn("wrong {x}")  # no format of ours: a stranger's text is not one
    assert [line.strip() for line in logged.lines] == [
        "WARNING wrong {x}",
        "WARNING wrong {x} (99 more were not logged)",
        "WARNING wrong {x} (99 more were not logged)",
    ]
