"""Keeps the gateways: as many as there should be, and after an update new ones in their place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger

from moshi_phone.cluster.gateway import ClusterView
from moshi_phone.cluster.rpc import RpcClient, RpcError
from moshi_phone.cluster.runtime import ExistingActor, Runtime

LOOK_SECS = 5.0  # a gateway looks at all workers before it opens
CLOSE_SECS = 2.0
LEAVE_SECS = 20.0
"""What an old gateway may take to answer the requests that it has; Twilio waits 15 s for its own."""


@dataclass
class _ManagedGateway:
    handle: Any
    asker: RpcClient
    generation: int
    answers: bool = False
    error: str = ""
    leaves_s: float | None = None
    adopted: bool = False


class Gateways:
    """All gateways of a cluster.

    Args:
        runtime: starts and kills them.
        count: how many there should be.
        clock: gives seconds, monotonic.
    """

    def __init__(self, runtime: Runtime, count: int, clock: Callable[[], float]) -> None:
        self._runtime = runtime
        self._count = count
        self._clock = clock
        self._started = 0  # in all: makes names unique
        self._generation = 1  # older ones leave once this one answers
        self._gateways: dict[str, _ManagedGateway] = {}

    @property
    def names(self) -> list[str]:
        """All there are."""
        return list(self._gateways)

    @property
    def ready(self) -> bool:
        """Whether as many answer as there should be, of the newest."""
        present = [gateway for gateway in self._gateways.values() if gateway.generation == self._generation]
        return len(present) >= self._count and all(gateway.answers for gateway in present)

    def adopt(self, survivors: Sequence[ExistingActor], generation: int) -> None:
        """Go on with gateways of an earlier command; those of an earlier generation leave."""
        self._generation = generation
        for one in survivors:
            self._started = max(self._started, one.number)
            self._enter(f"d{one.number}", one.handle, one.generation, adopted=True)

    def replace(self) -> None:
        """Start new ones; the old ones leave when all of the new answer."""
        self._generation += 1

    async def tell(
        self, workers: Mapping[str, Any], gateway_url: str | None, ports: str, closing: str | None
    ) -> None:
        """Tell each how things are, which opens new ones."""
        present = [gateway for gateway in self._gateways.values() if gateway.generation == self._generation]
        for _ in range(self._count - len(present)):
            self._start()
        gateways = {name: gateway.handle for name, gateway in self._gateways.items()}
        view = ClusterView(workers, gateways, gateway_url, ports, closing)
        await asyncio.gather(*(self._tell(name, gateway, view) for name, gateway in self._gateways.items()))
        # Asked again: meanwhile there may have been an update, and then there are no new ones yet.
        if self.ready:
            old = [name for name, gateway in self._gateways.items() if gateway.generation != self._generation]
            await asyncio.gather(*(self._let_go(name) for name in old))

    def kill_all(self, *, adopted: bool = True) -> None:
        """End them at once.

        Args:
            adopted: those of an earlier command, too.
        """
        for gateway in self._gateways.values():
            if adopted or not gateway.adopted:
                self._runtime.kill(gateway.handle, again=False)
        self._gateways.clear()

    def _start(self) -> None:
        self._started += 1
        name = f"d{self._started}"
        handle = self._runtime.start_gateway(name, self._started, self._generation)
        self._enter(name, handle, self._generation)

    def _enter(self, name: str, handle: Any, generation: int, *, adopted: bool = False) -> None:
        asker = RpcClient(name, self._runtime.transport(handle))
        self._gateways[name] = _ManagedGateway(handle, asker, generation, adopted=adopted)

    async def _tell(self, name: str, gateway: _ManagedGateway, view: ClusterView) -> None:
        try:
            await gateway.asker.ask("look", view, within_secs=LOOK_SECS)
        except RpcError as error:
            # Not every second; and a process that has just been started takes some.
            if gateway.answers or (
                not isinstance(error.__cause__, TimeoutError) and str(error) != gateway.error
            ):
                logger.warning("Gateway {} does not answer: {}", name, error)
            gateway.answers, gateway.error = False, str(error)
        else:
            gateway.answers, gateway.error = True, ""

    async def _let_go(self, name: str) -> None:
        """Have it take no new connections, and end it when it has answered what it has."""
        gateway = self._gateways[name]
        if gateway.leaves_s is None:
            gateway.leaves_s = self._clock()
        try:
            is_done = await gateway.asker.ask("close", within_secs=CLOSE_SECS)
        except RpcError as error:
            logger.warning("Gateway {} does not close: {}", name, error)
            is_done = False
        if is_done or self._clock() - gateway.leaves_s > LEAVE_SECS:
            self._gateways.pop(name, None)
            self._runtime.kill(gateway.handle, again=False)
