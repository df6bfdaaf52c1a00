"""What an exception says, in one line: some libraries put a backtrace or a page of HTML behind it."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Give the first line of what an exception says, or the name of its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
