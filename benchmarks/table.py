"""Tables in Markdown, line by line."""

from __future__ import annotations

from collections.abc import Iterator


def row(*cells: object) -> str:
    """Return one line of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def head(*cells: str) -> Iterator[str]:
    """Return the first two lines of a table."""
    yield row(*cells)
    yield "|" + "---|" * len(cells)
