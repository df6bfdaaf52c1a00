"""Entries of ``.env`` that have no effect, or not the intended one. Pure, except for reading the file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from dotenv.parser import Binding, parse_stream

PREFIX = "MOSHI_"
_PROSE = re.compile(r"[A-Za-z]{2,}[.,!?;:]?\s")
_CUT = re.compile(r"=\s*(?![\"'\s]).*?\s#")  # in python-dotenv, a # after a blank begins a comment


def read_bindings(path: Path) -> list[Binding]:
    """Read the lines of a ``.env``."""
    with path.open(encoding="utf-8") as lines:
        return list(parse_stream(lines))


def unknown_names(
    path: Path, bindings: Iterable[Binding], own: set[str], names: Callable[[], set[str]]
) -> list[str]:
    """Return one sentence for each of our variables that belongs to no option.

    Args:
        path: of the file.
        bindings: its lines.
        own: variables of the running command.
        names: returns those of all commands; called only for a variable that this command does not have.
    """
    ours = [one for one in bindings if one.key and one.key.startswith(PREFIX) and one.key not in own]
    known = names() if ours else set[str]()
    sentences = []
    for one in ours:
        if one.key and one.key not in known:
            plain = [name.removeprefix(PREFIX) for name in known]
            like = difflib.get_close_matches(one.key.removeprefix(PREFIX), plain, 1)
            hint = f"; did you mean {PREFIX}{like[0]}?" if like else "."
            sentences.append(
                f"line {one.original.line} of {path}: no option has the variable {one.key}{hint}"
            )
    return sentences


def cut_texts(path: Path, bindings: Iterable[Binding]) -> list[str]:
    """Return one sentence for each text that ends at a ``#`` that probably belongs to it."""
    return [
        f"line {one.original.line} of {path}: {one.key} ends before the #, where a comment begins; put the "
        "text in quotes."
        for one in bindings
        if one.key
        and one.key.startswith(PREFIX)
        and _PROSE.search(one.value or "")
        and _CUT.search(one.original.string.rstrip("\n"))
    ]
