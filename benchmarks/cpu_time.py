"""Processor time that single functions take inside a running program."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any


def timed(owner: Any, name: str, spent_s: dict[str, float], key: str) -> None:
    """Add the processor time of a function's calls to ``spent_s[key]``.

    Args:
        owner: the function's class or module.
        name: the function's.
        spent_s: CPU time of the calling thread in seconds, by key.
        key: the key in ``spent_s``.
    """
    function: Callable[..., Any] = getattr(owner, name)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        began_s = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent_s[key] += time.thread_time() - began_s

    setattr(owner, name, wrapper)
