"""What was logged during a test."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Logged:
    """The log's lines, from debug upwards."""

    lines: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.lines)
