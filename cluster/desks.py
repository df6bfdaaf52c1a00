"""Keeps the desks: as many as there should be, and after an update new ones in their place."""

# Tested in tests/cluster/test_manager.py by way of cluster/manager.py.

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loguru import logger

from cluster.asking import Asker, NoAnswer
from cluster.cluster_auth import ClusterAuth
from cluster.cluster_view import ClusterView
from cluster.runtime import Runtime

LOOK_SECS = 5.0  # a desk looks at all workers before it opens
CLOSE_SECS = 5.0


@dataclass
class _ManagedDesk:
    handle: Any
    asker: Asker
    is_old: bool = False
    answers: bool = False


class Desks:
    """All desks of a cluster.

    Args:
        runtime: starts and kills them.
        auth: that of this process.
        count: how many there should be.
    """

    def __init__(self, runtime: Runtime, auth: ClusterAuth, count: int) -> None:
        self._runtime = runtime
        self._auth = auth
        self._count = count
        self._started = 0
        self._desks: dict[str, _ManagedDesk] = {}

    @property
    def names(self) -> list[str]:
        """All there are."""
        return list(self._desks)

    def replace(self) -> None:
        """Start new ones; the old ones close when all of the new answer."""
        for desk in self._desks.values():
            desk.is_old = True

    async def tell(self, workers: Mapping[str, Any], desk_url: str | None, closing: str | None) -> None:
        """Tell each how things are, which opens new ones."""
        new = [name for name, desk in self._desks.items() if not desk.is_old]
        for _ in range(self._count - len(new)):
            self._start()
        view = ClusterView(
            workers, {name: desk.handle for name, desk in self._desks.items()}, desk_url, closing
        )
        await asyncio.gather(*(self._tell(name, desk, view) for name, desk in self._desks.items()))
        if all(desk.answers for desk in self._desks.values() if not desk.is_old):
            for name in [name for name, desk in self._desks.items() if desk.is_old]:
                await self._close(name)

    def kill_all(self) -> None:
        """End them at once."""
        for desk in self._desks.values():
            self._runtime.kill(desk.handle, again=False)
        self._desks.clear()

    def _start(self) -> None:
        self._started += 1
        name = f"d{self._started}"
        handle = self._runtime.start_desk(name)
        self._desks[name] = _ManagedDesk(handle, Asker(name, self._auth, self._runtime.transport(handle)))

    async def _tell(self, name: str, desk: _ManagedDesk, view: ClusterView) -> None:
        try:
            await desk.asker.ask("look", view, within_secs=LOOK_SECS)
        except NoAnswer as error:
            if desk.answers:
                logger.warning("Desk {} does not answer: {}", name, error)
            desk.answers = False
        else:
            desk.answers = True

    async def _close(self, name: str) -> None:
        desk = self._desks.pop(name)
        try:
            await desk.asker.ask("close", within_secs=CLOSE_SECS)
        except NoAnswer as error:
            logger.warning("Desk {} did not close: {}", name, error)
        self._runtime.kill(desk.handle, again=False)
