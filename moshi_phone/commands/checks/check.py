"""What one check of the doctor's found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's.

    Attributes:
        name: what was looked at.
        state: ``ok``; ``note`` for what a call can do without; ``fail`` for what it cannot.
        found: what was found.
        remedy: what to do about it; empty where there is nothing to do.
    """

    name: str
    state: Literal["ok", "note", "fail"]
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        """The line as a person reads it."""
        mark = {"ok": "ok  ", "note": "note", "fail": "FAIL"}[self.state]
        return f"{mark}  {self.name:<12} {self.found}" + (f" -> {self.remedy}" if self.remedy else "")
