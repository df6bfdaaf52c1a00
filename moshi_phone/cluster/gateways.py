"""The set of gateways: starts the configured number, and replaces all after an update."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger

from moshi_phone.cluster.gateway import ClusterView
from moshi_phone.cluster.rpc import RpcClient, RpcError
from moshi_phone.cluster.runtime import ExistingActor, Runtime

LOOK_SECS = 5.0  # a gateway requests all workers' reports before it opens
CLOSE_SECS = 2.0
LEAVE_SECS = 20.0
"""Limit for an old gateway to finish its open requests; Twilio waits 15 s for its own."""


@dataclass
class _ManagedGateway:
    handle: Any
    asker: RpcClient
    generation: int
    answers: bool = False  # whether the last request succeeded
    error: str = ""  # the last one, so that a repeated error is logged once
    leaves_s: float | None = None  # None = None | when it was first asked to close
    adopted: bool = False  # started by an earlier command


class Gateways:
    """All gateways of a cluster.

    Args:
        runtime: starts and kills them.
        count: number of gateways to run.
        clock: returns monotonic seconds.
    """

    def __init__(self, runtime: Runtime, count: int, clock: Callable[[], float]) -> None:
        self._runtime = runtime
        self._count = count
        self._clock = clock
        self._started = 0  # total, for unique names
        self._generation = 1  # older ones leave once this one answers
        self._gateways: dict[str, _ManagedGateway] = {}

    @property
    def names(self) -> list[str]:
        """Names of all gateways, including old ones."""
        return list(self._gateways)

    @property
    def ready(self) -> bool:
        """Whether all gateways of the current generation answer."""
        present = [gateway for gateway in self._gateways.values() if gateway.generation == self._generation]
        return len(present) >= self._count and all(gateway.answers for gateway in present)

    def adopt(self, survivors: Sequence[ExistingActor], generation: int) -> None:
        """Adopt gateways of an earlier command; those of an earlier generation will leave."""
        self._generation = generation
        for one in survivors:
            self._started = max(self._started, one.number)
            self._enter(f"d{one.number}", one.handle, one.generation, adopted=True)

    def replace(self) -> None:
        """Begin a new generation; the old gateways leave once all new ones answer."""
        self._generation += 1

    async def tell(
        self, workers: Mapping[str, Any], gateway_url: str | None, ports: str, closing: str | None
    ) -> None:
        """Start missing gateways, and send the view to all; the first view opens a gateway."""
        present = [gateway for gateway in self._gateways.values() if gateway.generation == self._generation]
        for _ in range(self._count - len(present)):
            self._start()
        gateways = {name: gateway.handle for name, gateway in self._gateways.items()}
        view = ClusterView(workers, gateways, gateway_url, ports, closing)
        await asyncio.gather(*(self._tell(name, gateway, view) for name, gateway in self._gateways.items()))
        # Checked after the requests: an update may have begun meanwhile, without any new gateway yet.
        if self.ready:
            old = [name for name, gateway in self._gateways.items() if gateway.generation != self._generation]
            await asyncio.gather(*(self._let_go(name) for name in old))

    def kill_all(self, *, adopted: bool = True) -> None:
        """Kill all gateways.

        Args:
            adopted: whether to include gateways of an earlier command.
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
            await gateway.asker.ask("update_view", view, within_secs=LOOK_SECS)
        except RpcError as error:
            # Logged once, not every second. A timeout is normal while a process starts.
            if gateway.answers or (
                not isinstance(error.__cause__, TimeoutError) and str(error) != gateway.error
            ):
                logger.warning("Gateway {} does not answer: {}", name, error)
            gateway.answers, gateway.error = False, str(error)
        else:
            gateway.answers, gateway.error = True, ""

    async def _let_go(self, name: str) -> None:
        """Ask a gateway to close, and kill it once its open requests are done or the limit has passed."""
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
