"""Search criteria for calls, for rows in memory and in the database. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from moshi_phone.records.call_row import CallRow, Outcome

MAX_LIMIT = 500


@dataclass(frozen=True, kw_only=True)
class CallSearch:
    """Search criteria; None matches everything.

    Attributes:
        number: part of either number, such as its last digits; spaces and hyphens are ignored.
        since: ``utc_text``; calls that began at or after this time.
        until: ``utc_text``; calls that began before this time.
        outcome: the calls' outcome.
        before: ``began_at`` and ``id`` of the previous page's last row.
        limit: maximum number of rows.
    """

    number: str | None = None
    since: str | None = None
    until: str | None = None
    outcome: Outcome | None = None
    before: tuple[str, str] | None = None
    limit: int = 50

    @property
    def number_part(self) -> str:
        """The number without separators."""
        return "".join(c for c in self.number or "" if c not in " -()/.").lower()

    def matches(self, row: CallRow) -> bool:
        """Return whether a row matches."""
        part = self.number_part
        return (
            (not part or part in row.from_number.lower() or part in row.to_number.lower())
            and (self.since is None or row.began_at >= self.since)
            and (self.until is None or row.began_at < self.until)
            and (self.outcome is None or row.outcome is self.outcome)
            and (self.before is None or (row.began_at, row.id) < self.before)
        )


def newest_first(search: CallSearch, *sources: Iterable[CallRow]) -> list[CallRow]:
    """Return the matching rows, newest first.

    Args:
        search: the criteria.
        sources: rows in any order; for equal ids, the later source wins.
    """
    rows = {row.id: row for source in sources for row in source}
    found = [row for row in rows.values() if search.matches(row)]
    found.sort(key=lambda row: (row.began_at, row.id), reverse=True)
    return found[: search.limit]
