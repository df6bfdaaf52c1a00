"""The log: its destination, its formats, and the redaction of secrets."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from loguru import logger

from moshi_phone.access.redact import Redactor, visible
from moshi_phone.runtime.rate_limited_log import RateLimitedRecords

if TYPE_CHECKING:
    from loguru import FormatFunction, Record

LogFormat = Literal["text", "json"]
_CALL = "_call"  # likewise: the line's call, and a space
_HANDED_ON = (
    "_line"  # key in a record's extra: a format function returns a template, which refers to this key
)
_TEXT = "{time:YYYY-MM-DD HH:mm:ss} <level>{level: <7}</level> {extra[_call]}{message}{extra[_line]}\n"
_JSON = "{extra[_line]}\n"


def log_to_stderr(level: str, secrets: Iterable[str | None] = (), form: LogFormat = "text") -> None:
    """Write the log to stderr, without phone numbers and secrets.

    All lines have one format: ours and pipecat's, by loguru, and those of uvicorn and other libraries, by the
    standard library's ``logging``, from warnings upwards.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        secrets: texts to redact in all lines.
        form: ``text`` for people, coloured on a terminal; ``json`` for programs, one object a line.
    """
    redactor = Redactor(secrets)
    logger.remove()
    logger.configure(patcher=redactor.patch)
    logger.add(sys.stderr, level=level.upper(), format=_FORMATS[form](redactor))
    handler = _ToLoguru()
    handler.addFilter(RateLimitedRecords("uvicorn"))  # it logs every malformed request of strangers
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


class _ToLoguru(logging.Handler):
    """Forwards records of the standard library's ``logging`` to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in _LEVELS else record.levelno
        named = logger.patch(lambda ours: ours.update({"name": record.name}))
        named.opt(exception=record.exc_info).log(level, "{}", record.getMessage())


_LEVELS = frozenset(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))


def _text(redactor: Redactor) -> FormatFunction:
    def line(record: Record) -> str:
        lines = _traceback(record, redactor)
        call = record["extra"].get("call")
        record["extra"][_HANDED_ON] = f"\n{lines}" if lines else ""
        record["extra"][_CALL] = f"{visible(redactor.text(str(call)))} " if call else ""
        return _TEXT

    return line


def _json(redactor: Redactor) -> FormatFunction:
    def line(record: Record) -> str:
        entry = {
            "time": record["time"].isoformat(timespec="milliseconds"),
            "level": record["level"].name,
            "logger": record["name"],
            "message": record["message"],
        }
        more = {
            name: redactor.text(value) if isinstance(value, str) else value
            for name, value in record["extra"].items()
        }
        if exception := _traceback(record, redactor):
            more["exception"] = exception
        record["extra"][_HANDED_ON] = json.dumps({**more, **entry}, default=str)
        return _JSON

    return line


_FORMATS = {"text": _text, "json": _json}


def _traceback(record: Record, redactor: Redactor) -> str:
    """Return the traceback, if any, in Python's own format: without values of variables."""
    exception = record["exception"]
    if exception is None or exception.value is None:
        return ""
    lines = "".join(traceback.format_exception(exception.value)).rstrip("\n").split("\n")
    return "\n".join(visible(redactor.text(line)) for line in lines)
