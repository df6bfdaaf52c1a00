"""Which calls somebody looks for. Pure: the same question to rows in memory and to the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from moshi_phone.records.call_row import CallRow, Outcome

MAX_LIMIT = 500


@dataclass(frozen=True, kw_only=True)
class CallSearch:
    """A question; what is None is not asked.

    Attributes:
        number: a part of either number, such as its last digits; spaces and hyphens do not count.
        since: ``utc_text``; calls that began then or later.
        until: likewise; calls that began before.
        outcome: what became of them.
        before: ``began_at`` and ``id`` of the last row that is known; the older ones follow.
        limit: how many, at most.
    """

    number: str | None = None
    since: str | None = None
    until: str | None = None
    outcome: Outcome | None = None
    before: tuple[str, str] | None = None
    limit: int = 50

    @property
    def number_part(self) -> str:
        """The number without what people write between digits."""
        return "".join(c for c in self.number or "" if c not in " -()/.").lower()

    def matches(self, row: CallRow) -> bool:
        """Tell whether a row is looked for."""
        part = self.number_part
        return (
            (not part or part in row.from_number.lower() or part in row.to_number.lower())
            and (self.since is None or row.began_at >= self.since)
            and (self.until is None or row.began_at < self.until)
            and (self.outcome is None or row.outcome is self.outcome)
            and (self.before is None or (row.began_at, row.id) < self.before)
        )


def newest_first(search: CallSearch, *sources: Iterable[CallRow]) -> list[CallRow]:
    """Return the rows that are looked for, the newest first.

    Args:
        search: the question.
        sources: rows in any order; of two with one id, that of the later source counts.
    """
    rows = {row.id: row for source in sources for row in source}
    found = [row for row in rows.values() if search.matches(row)]
    found.sort(key=lambda row: (row.began_at, row.id), reverse=True)
    return found[: search.limit]
