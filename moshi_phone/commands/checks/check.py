"""The result of one check of ``doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One line of ``doctor``.

    Attributes:
        name: the subject of the check.
        state: ``ok``; ``note`` for a lack that does not prevent calls; ``fail`` for one that does.
        found: the finding.
        remedy: what to do; empty if there is nothing to do.
    """

    name: str
    state: Literal["ok", "note", "fail"]
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        """The line for the terminal."""
        mark = {"ok": "ok  ", "note": "note", "fail": "FAIL"}[self.state]
        return f"{mark}  {self.name:<12} {self.found}" + (f" -> {self.remedy}" if self.remedy else "")
