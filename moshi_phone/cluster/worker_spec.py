"""What makes a worker the one that it is."""

from __future__ import annotations

from dataclasses import dataclass

from moshi_phone.server.settings import Settings


@dataclass(frozen=True)
class WorkerSpec:
    """What makes a worker the one that it is.

    Attributes:
        name: w1, w2, ….
        settings: those of the whole cluster; they hold its secrets, so this is never logged.
        port: where it listens; 0 takes a free one.
        url_template: its public URL, for ``worker_url``; None where a tunnel makes one or there is none.
    """

    name: str
    settings: Settings
    port: int = 0
    url_template: str | None = None
