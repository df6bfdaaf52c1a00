"""What the manager tells a desk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClusterView:
    """What the manager tells a desk.

    Attributes:
        workers: how each worker is reached, by name.
        desks: how each desk is reached, by name; the first that answers counts calls of one number.
        desk_url: where webhooks come in (``PublicAddress.base``), or None while there is none.
        ports: where desks get the sockets to listen on (``runtime/fd_passing.py``).
        closing: why no calls are taken, or None while they are.
    """

    workers: Mapping[str, Any]
    desks: Mapping[str, Any]
    desk_url: str | None
    ports: str
    closing: str | None = None
