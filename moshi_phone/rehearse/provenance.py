"""Where a report comes from: when, on what machine, with which version and options it was made."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from moshi_phone.runtime.version import VERSION


@dataclass(frozen=True)
class Provenance:
    """What a report says of itself, beside what was measured.

    Attributes:
        at: when the rehearsal began, UTC.
        version: of this program.
        machine: on which the caller ran, and the server too where it was started for the rehearsal.
        engine: who answered, as the server calls it; None where it does not tell.
        options: how the rehearsal was set, without what is secret.
    """

    at: datetime
    version: str
    machine: str
    engine: str | None
    options: Mapping[str, Any]

    @classmethod
    def now(cls, *settings: object) -> Provenance:
        """Take note of here and now.

        Args:
            settings: dataclasses of options; fields that their ``repr`` hides are left out.
        """
        return cls(datetime.now(UTC), VERSION, machine(), None, _shown(settings))

    def answered_by(self, engine: str | None) -> Provenance:
        """Add who answered, which is known only afterwards."""
        return replace(self, engine=engine)

    @property
    def line(self) -> str:
        """All but the options, in one line for a picture."""
        when = f"{self.at:%Y-%m-%d %H:%M} UTC"
        return " · ".join((self.engine or "engine unknown", when, self.machine, f"version {self.version}"))

    def as_json(self) -> dict[str, Any]:
        """Return it as ``report.json`` holds it."""
        return {
            "date": self.at.isoformat(timespec="seconds"),
            "version": self.version,
            "machine": self.machine,
            "engine": self.engine,
            "options": dict(self.options),
        }


def machine() -> str:
    """Name this machine's system, processor and cores, but not its host name."""
    system = {"Darwin": "macOS"}.get(platform.system(), platform.system())
    cores = os.cpu_count() or 1
    return f"{system} {platform.machine()}, {cores} core{'s' if cores > 1 else ''}"


def _shown(settings: tuple[object, ...]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for options in settings:
        for item in fields(options):  # type: ignore[arg-type]
            value = getattr(options, item.name)
            if is_dataclass(value):
                shown |= _shown((value,))
            elif item.repr:
                shown[item.name] = _plain(value)
    return shown


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; a URL loses its user and password."""
    if isinstance(value, str) and "://" in value:
        parts = urlsplit(value)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return value if isinstance(value, str | int | float | bool | None) else str(value)
