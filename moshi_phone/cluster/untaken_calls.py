"""Calls that no worker took, at a gateway: entered, reported to ``--on-end``, and their messages stored."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from moshi_phone.access.public_address import PublicAddress
from moshi_phone.engines.choose import EngineChoice
from moshi_phone.engines.duplex import (
    NO_OVERRIDES,
    CallOverrides,
    DuplexEngine,
    DuplexSession,
    EngineBusy,
    Progress,
)
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings

_FOLDER = "gateways"


class NoEngine(DuplexEngine):
    """The engine of a gateway, which answers no calls itself."""

    name = ""
    capacity = 0

    @property
    def running(self) -> int:
        """See ``DuplexEngine``."""
        return 0

    @property
    def error(self) -> str | None:
        """See ``DuplexEngine``."""
        return None

    async def start(self, progress: Progress) -> None:
        """See ``DuplexEngine``."""

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> DuplexSession:  # noqa: ARG002
        """See ``DuplexEngine``."""
        raise EngineBusy("A gateway has no sessions.")

    async def stop(self) -> None:
        """See ``DuplexEngine``."""


def gateway_state(settings: Settings, address: PublicAddress, name: str) -> ServerState:
    """Create a gateway's state: rows, reports and messages of calls that no worker took.

    Args:
        settings: the cluster's settings.
        address: public URL of the webhooks; it may change.
        name: the gateway's name; its reports have a folder of their own.
    """
    hooks = replace(settings.hooks, on_end_folder=settings.hooks.on_end_folder / _FOLDER / name)
    choice = EngineChoice(NoEngine(), "at a gateway")
    return ServerState.create(replace(settings, hooks=hooks), choice, webhook_base_url=address)


def adopt_reports(folder: Path, present: Collection[str]) -> None:
    """Move undelivered reports of gateways that are gone into this gateway's folder.

    Args:
        folder: this gateway's.
        present: names of all gateways, which deliver their own.
    """
    folder.mkdir(0o700, parents=True, exist_ok=True)
    for other in folder.parent.iterdir():
        if other.name in present or other == folder or not other.is_dir():
            continue
        for report in other.iterdir():
            with suppress(OSError):  # another gateway was faster
                report.rename(folder / report.name)
        with suppress(OSError):  # not empty
            other.rmdir()
