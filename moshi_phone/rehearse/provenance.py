"""The provenance of a report: date, machine, version, engine and options."""

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
    """Metadata of a report.

    Attributes:
        at: start of the rehearsal, UTC.
        version: this program's version.
        machine: the caller's machine; also the server's, if the rehearsal started it.
        engine: the engine's name, from the server; None if unknown.
        options: the rehearsal's options, without secrets.
    """

    at: datetime
    version: str
    machine: str
    engine: str | None
    options: Mapping[str, Any]

    @classmethod
    def now(cls, *settings: object) -> Provenance:
        """Create the metadata of a rehearsal that starts now, on this machine.

        Args:
            settings: dataclasses of options; fields excluded from their ``repr`` are omitted.
        """
        return cls(datetime.now(UTC), VERSION, machine(), None, _shown(settings))

    def answered_by(self, engine: str | None) -> Provenance:
        """Return a copy with the engine, which is known only after the call."""
        return replace(self, engine=engine)

    @property
    def line(self) -> str:
        """All but the options in one line, for a picture."""
        when = f"{self.at:%Y-%m-%d %H:%M} UTC"
        return " · ".join((self.engine or "engine unknown", when, self.machine, f"version {self.version}"))

    def as_json(self) -> dict[str, Any]:
        """Return the metadata in the format of ``report.json``."""
        return {
            "date": self.at.isoformat(timespec="seconds"),
            "version": self.version,
            "machine": self.machine,
            "engine": self.engine,
            "options": dict(self.options),
        }


def machine() -> str:
    """Describe this machine's system, processor and cores, without its host name."""
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
    """Convert a value for JSON; user and password are removed from URLs."""
    if isinstance(value, str) and "://" in value:
        parts = urlsplit(value)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return value if isinstance(value, str | int | float | bool | None) else str(value)
