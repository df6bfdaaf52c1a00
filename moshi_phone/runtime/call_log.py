"""Marks lines of the log with their call.

Tasks inherit the mark from the code that creates them. Threads inherit nothing: objects of a call take
``call_logger()`` when they are made, on the event loop, and log with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from loguru import Logger

SHORT_CHARS = 10
"""How much of a SID the log shows. Whoever knows a whole SID may follow its call (``server/web``)."""

_call: ContextVar[str | None] = ContextVar("call", default=None)


def short_sid(call_sid: str) -> str:
    """Shorten a SID for the log. Only ASCII letters and digits are kept: it may be forged."""
    return "".join(c for c in call_sid if c.isascii() and c.isalnum())[:SHORT_CHARS]


@contextmanager
def call_context(call_sid: str) -> Iterator[None]:
    """Mark every line as this call's that is logged in the block, and by the tasks that it creates."""
    name = short_sid(call_sid)
    token = _call.set(name)
    try:
        with logger.contextualize(call=name):
            yield
    finally:
        _call.reset(token)


def call_logger() -> Logger:
    """Return a logger that marks its lines as the current call's, in any thread."""
    name = _call.get()
    return logger if name is None else logger.bind(call=name)
