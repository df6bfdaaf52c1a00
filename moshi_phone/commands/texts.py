"""Texts of the command line that may be repeated: their environment variable holds several."""

from __future__ import annotations

from collections.abc import Sequence

import click


class Texts(click.types.StringParamType):
    """One of several texts, which may contain blanks. A variable has them on lines, or between semicolons."""

    def split_envvar_value(self, rv: str) -> list[str]:
        """Split a variable's value; click's own way would make a text of each word."""
        parts = rv.splitlines() if "\n" in rv else rv.split(";")
        return [part.strip() for part in parts if part.strip()]


def join_texts(texts: Sequence[str]) -> str:
    """Join texts to a variable that is split into the same ones, whatever semicolons they contain."""
    return "".join(f"{text}\n" for text in texts)
