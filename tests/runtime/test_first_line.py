from __future__ import annotations

import pytest

from moshi_phone.runtime.first_line import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("narrow invalid args\nbacktrace:\n 0: rust"), "narrow invalid args"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_what_an_exception_says_in_one_line(error: BaseException, line: str) -> None:
    assert first_line(error) == line
