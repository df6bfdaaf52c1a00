"""Keeps as many workers as are wanted, replaces those of an old version, and tells the gateways of them."""

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
from moshi_phone.cluster.worker_client import WorkerClient, WorkerSpec
from moshi_phone.cluster.worker_url import worker_name
from moshi_phone.server.calls.draining import CLOSING
from moshi_phone.server.settings import Settings

STEP_SECS = 1.0
REPORT_SECS = 3.0  # a machine may be busy; that is no reason to think that a worker is dead
RETRY_SECS = 10.0  # before a worker that could not start tries again
LATE_SECS = 20.0  # what a worker may take to end after its last call, or after --drain-secs


class Manager:
    """Looks at all workers again and again, and does what is needed.

    Args:
        runtime: starts and kills processes.
        settings: those of the whole cluster, its port known.
        options: how many there are, and where.
        clock: gives seconds, monotonic.
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
        self._wanted = options.workers  # by the options, ``cluster scale`` or the autoscaler
        self._autoscaler = (
            None
            if options.spare_calls is None
            else Autoscaler(options.spare_calls, options.min_workers, options.max_workers)
        )
        self._generation = 1  # raised by an update; older workers and gateways drain
        self._workers: dict[int, ManagedWorker] = {}  # by number; those of an older generation drain
        self._gateways = Gateways(runtime, options.gateways, clock)
        self._closing: str | None = None  # why, once the cluster is ending
        self.gateway_url: str | None = None  # known with the tunnel or --public-url
        self.ports = ""  # where the gateways get their sockets
        self.was_staffed = False  # whether all workers have been ready at some time

    @property
    def workers(self) -> list[ManagedWorker]:
        """All workers, by number."""
        return [self._workers[number] for number in sorted(self._workers)]

    @property
    def failure(self) -> str | None:
        """Why no worker can start, in one sentence; None as long as one may."""
        failures = [one.report.failure for one in self.workers if one.report and one.report.failure]
        return failures[0] if failures and len(failures) == len(self._workers) else None

    @property
    def ready(self) -> bool:
        """Whether all that are wanted take calls, and the gateways answer."""
        ready = [one for one in self.workers if one.state is WorkerState.READY]
        return (
            len(ready) >= self._wanted
            and all(one.generation == self._generation for one in self.workers)
            and self._gateways.ready
        )

    @property
    def has_ready_workers(self) -> bool:
        """Whether as many take calls as are wanted, old ones among them, and the gateways answer."""
        ready = sum(one.state is WorkerState.READY for one in self.workers)
        return ready >= self._wanted and self._gateways.ready

    @property
    def sessions(self) -> int:
        """How many are taken, reserved ones among them."""
        return sum(one.report.sessions for one in self.workers if one.report)

    def adopt(self, survivors: Sequence[ExistingActor]) -> None:
        """Go on with what an earlier command has left; what is set otherwise is replaced, as by an update.

        Args:
            survivors: what runs; this has started nothing yet.
        """
        self._generation = max((one.generation for one in survivors), default=1)
        # Started with other settings: replaced as by an update, and their calls finish.
        if any(not one.is_current for one in survivors if one.generation == self._generation):
            self._generation += 1
        self._gateways.adopt([one for one in survivors if one.kind == "gateway"], self._generation)
        for one in sorted(survivors, key=lambda one: one.generation):
            if one.kind == "worker":
                if twin := self._workers.get(one.number):  # it was being killed when the command was
                    self._runtime.kill(twin.handle, again=False)
                self._adopt_worker(one)
        if survivors:
            logger.info("Adopted {} processes of an earlier command", len(survivors))

    def update(self) -> None:
        """Replace all workers by new ones, which run what is on the disk now."""
        self._generation += 1
        self._gateways.replace()
        logger.info("Update: new workers start; the old ones end with their last calls")

    def scale(self, workers: int) -> None:
        """Have so many workers; with ``--spare-calls``, at least so many."""
        if self._autoscaler is not None:
            self._autoscaler.set_min_workers(workers)
        else:
            self._wanted = workers

    def status(self) -> dict[str, Any]:
        """Say how many there are and should be, for people."""
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
        """Keep at it until cancelled."""
        while True:
            await self._try_step()
            await asyncio.sleep(STEP_SECS)

    async def step(self) -> None:
        """Look at all once, and do what is needed."""
        await asyncio.gather(*(self._look_at(one) for one in self.workers))
        now_s = self._clock()
        self._reap(now_s)
        if self._closing is None:
            self._scale(now_s)
            todo = plan([one.member(now_s) for one in self.workers], self._wanted, self._generation)
            for number in todo.start:
                self._start(number, now_s)
            await self._drain([self._workers[number] for number in todo.drain])
        # Asked again: the first may have been lost, or Ray has put another process in its place.
        deaf = [one for one in self.workers if one.drained_s is not None and not one.is_closing]
        await asyncio.gather(*(one.client.end() for one in deaf), return_exceptions=True)
        await self._tell_gateways()

    async def _try_step(self) -> None:
        """Do it in spite of what Ray may raise: calls run, and somebody must look after them."""
        try:
            await self.step()
        except Exception:
            if not self.was_staffed:
                raise
            logger.exception("The cluster could not be looked after; trying again")
        self.was_staffed = self.was_staffed or self.has_ready_workers

    async def set_public_url(self, url: str) -> None:
        """Take note of where webhooks come in, and return when workers and gateways know it.

        Args:
            url: ``PublicAddress.base``; a gateway refuses what was signed for another one.
        """
        self.gateway_url = url
        await asyncio.gather(*(self._look_at(one) for one in self.workers))
        await self._tell_gateways()

    async def drain_all(self) -> None:
        """Take no more calls, and return when the last one is over and all workers have ended."""
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
        """End every process that is left.

        Args:
            adopted: those of an earlier command, too.
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
            one.drained_s = self._clock()  # as the earlier command wanted

    def _reap(self, now_s: float) -> None:
        """Let go of workers that have ended, and start those again that could not start."""
        for one in self.workers:
            name, report = worker_name(one.number), one.report
            if one.drained_s is not None:
                drained_for_s = now_s - one.drained_s
                # The report says so while its process still runs; the process is killed only then.
                has_ended = report is not None and report.over
                too_late = drained_for_s > self._settings.server.drain_secs + LATE_SECS
                # One that does not answer may be busy with its calls; it has until then, too.
                if has_ended or too_late:
                    self._runtime.kill(one.handle, again=False)
                    del self._workers[one.number]
                    logger.info("Worker {} is gone", name)
            elif report is not None and report.over:
                if one.failed_s is None:
                    one.failed_s = now_s
                # Not at once: what failed (a download, a GPU) would fail again in a busy loop.
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
