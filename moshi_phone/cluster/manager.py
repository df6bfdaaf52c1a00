"""The manager: keeps the wanted number of workers running, replaces old ones, and updates the gateways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from loguru import logger

from moshi_phone.cluster.autoscaling import Autoscaler
from moshi_phone.cluster.fleet import ManagedWorker, WorkerState, plan
from moshi_phone.cluster.gateways import Gateways
from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.cluster.rpc import RpcError
from moshi_phone.cluster.runtime import ExistingActor, Runtime
from moshi_phone.cluster.worker_client import WorkerClient
from moshi_phone.cluster.worker_spec import WorkerSpec
from moshi_phone.cluster.worker_url import worker_name
from moshi_phone.server.calls.draining import CLOSING
from moshi_phone.server.settings import Settings

STEP_SECS = 1.0
REPORT_SECS = 3.0  # generous: a worker on a busy machine is not dead
RETRY_SECS = 10.0  # between two start attempts of a failed worker
LATE_SECS = 20.0  # for a worker's exit after its last call, or after --drain-secs


class Manager:
    """A reconcile loop: polls all workers, and starts, drains, restarts or kills them as needed.

    Args:
        runtime: starts and kills processes.
        settings: the cluster's settings, with the port known.
        options: number and placement of workers and gateways.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        options: ClusterOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._options = options
        self._clock = clock
        self._wanted = options.workers  # from the options, ``cluster scale`` or the autoscaler
        self._autoscaler = (
            None
            if options.spare_calls is None
            else Autoscaler(options.spare_calls, options.min_workers, options.max_workers)
        )
        self._generation = 1  # raised by an update; older workers and gateways drain
        self._workers: dict[int, ManagedWorker] = {}  # by number; those of an older generation drain
        self._gateways = Gateways(runtime, options.gateways, clock)
        self._closing: str | None = None  # the reason, once the cluster is closing
        self.gateway_url: str | None = None  # from the tunnel or --public-url
        self.ports = ""  # path at which the gateways receive their sockets
        self.was_staffed = False  # whether all workers were ever ready

    @property
    def workers(self) -> list[ManagedWorker]:
        """All workers, by number."""
        return [self._workers[number] for number in sorted(self._workers)]

    @property
    def failure(self) -> str | None:
        """Why no worker can start, in one sentence; None while at least one may."""
        failures = [one.report.failure for one in self.workers if one.report and one.report.failure]
        return failures[0] if failures and len(failures) == len(self._workers) else None

    @property
    def ready(self) -> bool:
        """Whether all wanted workers, of the current generation, take calls and the gateways answer."""
        ready = [one for one in self.workers if one.state is WorkerState.READY]
        return (
            len(ready) >= self._wanted
            and all(one.generation == self._generation for one in self.workers)
            and self._gateways.ready
        )

    @property
    def has_ready_workers(self) -> bool:
        """Whether enough workers of any generation take calls, and the gateways answer."""
        ready = sum(one.state is WorkerState.READY for one in self.workers)
        return ready >= self._wanted and self._gateways.ready

    @property
    def sessions(self) -> int:
        """Number of sessions in use, including reserved ones."""
        return sum(one.report.sessions for one in self.workers if one.report)

    def adopt(self, survivors: Sequence[ExistingActor]) -> None:
        """Adopt processes of an earlier command; those with other settings are replaced, as by an update.

        Args:
            survivors: the running processes. Call this before starting any.
        """
        self._generation = max((one.generation for one in survivors), default=1)
        # Some have other settings: a new generation replaces them, and their calls finish.
        if any(not one.is_current for one in survivors if one.generation == self._generation):
            self._generation += 1
        self._gateways.adopt([one for one in survivors if one.kind == "gateway"], self._generation)
        for one in sorted(survivors, key=lambda one: one.generation):
            if one.kind == "worker":
                if twin := self._workers.get(one.number):  # a leftover of a restart
                    self._runtime.kill(twin.handle, again=False)
                self._adopt_worker(one)
        if survivors:
            logger.info("Adopted {} processes of an earlier command", len(survivors))

    def update(self) -> None:
        """Begin a new generation of workers and gateways, which runs the code now on disk."""
        self._generation += 1
        self._gateways.replace()
        logger.info("Update: new workers start; the old ones end with their last calls")

    def scale(self, workers: int) -> None:
        """Set the number of workers; with ``--spare-calls``, the minimum."""
        if self._autoscaler is not None:
            self._autoscaler.set_min_workers(workers)
        else:
            self._wanted = workers

    def status(self) -> dict[str, Any]:
        """Return the state of all workers and gateways, for ``cluster status``."""
        return {
            "wanted": self._wanted,
            "generation": self._generation,
            "ready": self.ready,
            "gateways": self._gateways.names,
            "workers": [
                {
                    "name": worker_name(one.number),
                    "state": str(one.state),
                    "generation": one.generation,
                    "url": one.report.url if one.report else None,
                    "sessions": one.report.sessions if one.report else None,
                    "capacity": one.report.capacity if one.report else None,
                    "failure": one.report.failure if one.report else None,
                }
                for one in self.workers
            ],
        }

    async def run(self) -> None:
        """Run steps until cancelled."""
        while True:
            await self._try_step()
            await asyncio.sleep(STEP_SECS)

    async def step(self) -> None:
        """Poll all workers once, and reconcile."""
        await asyncio.gather(*(self._look_at(one) for one in self.workers))
        now_s = self._clock()
        self._reap(now_s)
        if self._closing is None:
            self._scale(now_s)
            todo = plan([one.member(now_s) for one in self.workers], self._wanted, self._generation)
            for number in todo.start:
                self._start(number, now_s)
            await self._drain([self._workers[number] for number in todo.drain])
        # Repeated: the first request may be lost, or Ray may have restarted the process since.
        deaf = [one for one in self.workers if one.drained_s is not None and not one.is_closing]
        await asyncio.gather(*(one.client.end() for one in deaf), return_exceptions=True)
        await self._tell_gateways()

    async def _try_step(self) -> None:
        """Run a step and survive Ray's exceptions, because calls depend on the manager."""
        try:
            await self.step()
        except Exception:
            if not self.was_staffed:
                raise
            logger.exception("Cluster reconciliation failed; retrying")
        self.was_staffed = self.was_staffed or self.has_ready_workers

    async def set_public_url(self, url: str) -> None:
        """Set the webhooks' public URL, and return once workers and gateways have it.

        Args:
            url: ``PublicAddress.base``; a gateway refuses requests signed for another URL.
        """
        self.gateway_url = url
        await asyncio.gather(*(self._look_at(one) for one in self.workers))
        await self._tell_gateways()

    async def drain_all(self) -> None:
        """Stop taking calls, and return when the last call and all workers have ended."""
        self._closing = CLOSING
        await self._tell_gateways()
        await self._drain(self.workers)
        while self._workers:
            await self._try_step()
            await asyncio.sleep(STEP_SECS)

    async def hang_up_all(self) -> None:
        """End all calls and all workers."""
        self._closing = CLOSING
        await asyncio.gather(*(one.client.hang_up() for one in self.workers), return_exceptions=True)

    def kill_all(self, *, adopted: bool = True) -> None:
        """Kill every process.

        Args:
            adopted: whether to include processes of an earlier command.
        """
        for one in self.workers:
            if adopted or not one.adopted:
                self._runtime.kill(one.handle, again=False)
        self._workers.clear()
        self._gateways.kill_all(adopted=adopted)

    async def _look_at(self, one: ManagedWorker) -> None:
        try:
            one.report = await one.client.report(self.gateway_url, REPORT_SECS)
        except RpcError as error:
            if one.report is not None:
                logger.warning("Worker {} does not answer: {}", worker_name(one.number), error)
            one.report = None
            return
        one.answered = True
        if one.adopted and one.report.closing and one.drained_s is None:
            one.drained_s = self._clock()  # the earlier command began to drain it

    def _reap(self, now_s: float) -> None:
        """Remove workers that have ended, and restart those that failed to start."""
        for one in self.workers:
            name, report = worker_name(one.number), one.report
            if one.drained_s is not None:
                drained_for_s = now_s - one.drained_s
                # The process still runs to report its end; kill it now.
                has_ended = report is not None and report.over
                too_late = drained_for_s > self._settings.server.drain_secs + LATE_SECS
                # A drained worker that does not answer may be busy with calls: it has the same limit.
                if has_ended or too_late:
                    self._runtime.kill(one.handle, again=False)
                    del self._workers[one.number]
                    logger.info("Worker {} is gone", name)
            elif report is not None and report.over:
                if one.failed_s is None:
                    one.failed_s = now_s
                # Wait before a retry: a failed download or GPU would fail again in a busy loop.
                elif now_s - one.failed_s >= RETRY_SECS:
                    one.failed_s = None
                    logger.warning("Restarting worker {}", name)
                    self._runtime.kill(one.handle, again=True)

    def _scale(self, now_s: float) -> None:
        if self._autoscaler is None:
            return
        taking = [one.report for one in self.workers if one.report and one.state is WorkerState.READY]
        capacity = max((report.capacity for report in taking), default=0)
        # The sessions of draining workers do not count: no new call can use them.
        wanted = self._autoscaler.wanted(sum(report.sessions for report in taking), capacity, now_s)
        if wanted != self._wanted:
            logger.info("Scaling to {} workers, for enough free sessions", wanted)
        self._wanted = wanted

    def _start(self, number: int, now_s: float) -> None:
        name = worker_name(number)
        # Fixed ports are for firewalls; by default the system picks one.
        port = self._options.worker_port + number - 1 if self._options.worker_port else 0
        spec = WorkerSpec(name, self._settings, port, self._options.worker_url)
        handle = self._runtime.start_worker(spec, number, self._generation)
        client = WorkerClient(name, self._runtime.transport(handle))
        self._workers[number] = ManagedWorker(number, self._generation, handle, client, now_s)
        logger.info("Starting worker {}", name)

    def _adopt_worker(self, one: ExistingActor) -> None:
        client = WorkerClient(worker_name(one.number), self._runtime.transport(one.handle))
        managed = ManagedWorker(one.number, one.generation, one.handle, client, self._clock())
        managed.adopted = True
        self._workers[one.number] = managed

    async def _drain(self, workers: list[ManagedWorker]) -> None:
        for one in workers:
            if one.drained_s is None:
                one.drained_s = self._clock()
                logger.info("Worker {} takes no new calls", worker_name(one.number))
        await asyncio.gather(*(one.client.end() for one in workers), return_exceptions=True)

    async def _tell_gateways(self) -> None:
        await self._gateways.tell(
            {worker_name(one.number): one.handle for one in self.workers},
            self.gateway_url,
            self.ports,
            self._closing,
        )
