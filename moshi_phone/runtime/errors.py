"""The base class of errors that are shown to the user, and one-line descriptions of errors."""

from __future__ import annotations

import traceback
from pathlib import Path


class UserError(Exception):
    """An error that the user can correct. The text is one sentence with the remedy.

    A command prints the sentence and exits with code 2; a worker of a cluster reports it. Neither shows a
    traceback.

    Attributes:
        variable: the environment variable with the wrong value, if any. The command line adds where it was
            set.
    """

    variable: str | None = None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class without one.

    Some libraries append a backtrace or a page of HTML.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def describe_error(error: BaseException) -> str:
    """Describe an error of the user's own code: its class, its text, and the line that raised it."""
    described = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, SyntaxError):
        return described  # its text names the line
    here = Path.cwd()
    for entry in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(entry.filename)
        if path.is_relative_to(here) and "site-packages" not in path.parts:
            return f"{described}; {path.relative_to(here)}, line {entry.lineno}"
    return described
