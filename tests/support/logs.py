"""Log lines of a test."""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record


class Logged:
    """The log's lines, from level DEBUG."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @property
    def text(self) -> str:
        """All lines."""
        return "".join(self.lines)

    async def says(self, words: str) -> None:
        """Wait until these words have been logged."""
        if words not in self.text:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((words, future))
            await future

    def take(self, line: object) -> None:
        """Record one line, from any thread."""
        self.lines.append(str(line))
        for words, future in [one for one in self._waiting if one[0] in self.text]:
            self._waiting.remove((words, future))
            future.get_loop().call_soon_threadsafe(future.set_result, None)


def _with_call(record: Record) -> str:
    call = "{extra[call]} " if record["extra"].get("call") else ""
    return f"{{level}} {call}{{message}}\n{{exception}}"


@contextmanager
def logged_lines() -> Iterator[Logged]:
    """Record log lines while the block runs."""
    logs = Logged()
    sink = logger.add(logs.take, level="DEBUG", format=_with_call)
    try:
        yield logs
    finally:
        logger.remove(sink)


@contextmanager
def log_put_back() -> Iterator[None]:
    """Let the program configure the log while the block runs; restore the tests' configuration afterwards."""
    root, shown = logging.getLogger(), warnings.showwarning
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:], warnings.showwarning = handlers, shown
        root.setLevel(level)
        logger.remove()
        logger.configure(patcher=None)
        logger.add(sys.stderr, level="WARNING")
