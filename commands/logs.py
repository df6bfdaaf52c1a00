"""Where the log goes, and what never gets into it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from loguru import logger

from access.redact import Redactor


def log_to_stderr(level: str, secrets: Iterable[str | None] = ()) -> None:
    """Write the log to the terminal, without phone numbers and without these secrets.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        secrets: what must not appear, whoever logs it.
    """
    logger.remove()
    logger.configure(patcher=Redactor(secrets).patch)
    # diagnose would write the values of variables, secrets among them, into tracebacks.
    logger.add(
        sys.stderr, level=level.upper(), format="{time:HH:mm:ss} {level: <7} {message}", diagnose=False
    )
