from __future__ import annotations

import logging

from moshi_phone.runtime.rate_limited_log import RateLimitedLog, RateLimitedRecords
from tests.support.logs import Logged


def test_one_line_in_ten_seconds_with_the_count_of_suppressed_ones(logged: Logged) -> None:
    now_s = 0.0
    log = RateLimitedLog(lambda: now_s)
    for tick in range(250):
        now_s = tick / 10
        log.warn("wrong {x}")  # not a format of ours: text from outside is not a format
    assert [line.strip() for line in logged.lines] == [
        "WARNING wrong {x}",
        "WARNING wrong {x} (99 more were not logged)",
        "WARNING wrong {x} (99 more were not logged)",
    ]


def test_a_library_s_records_are_limited_by_kind() -> None:
    """Each malformed request used to be a line: megabytes a second."""
    now_s = 0.0
    limit = RateLimitedRecords("uvicorn", lambda: now_s)

    def passes(message: str, name: str = "uvicorn.error", level: int = logging.WARNING) -> str | None:
        record = logging.LogRecord(name, level, "", 0, message, (), None)
        return record.getMessage() if limit.filter(record) else None

    assert passes("Invalid HTTP request received.") == "Invalid HTTP request received."
    assert [passes("Invalid HTTP request received.") for _ in range(100)] == [None] * 100
    assert passes("Unsupported upgrade request.") is not None
    assert passes("Exception in ASGI application", level=logging.ERROR) is not None
    assert passes("other", "asyncio") == passes("other", "asyncio") == "other"
    now_s = 11.0
    assert passes("Invalid HTTP request received.") == (
        "Invalid HTTP request received. (100 more were not logged)"
    )
