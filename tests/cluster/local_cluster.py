"""A cluster without Ray: real workers and gateways on real sockets, all on the test's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from bot import run_call
from moshi_phone.cluster.gateway import PORT, Gateway
from moshi_phone.cluster.manager import Manager
from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.cluster.rpc import RpcError, Transport
from moshi_phone.cluster.runtime import ExistingActor, Kind
from moshi_phone.cluster.worker import Worker
from moshi_phone.cluster.worker_spec import WorkerSpec
from moshi_phone.engines.options import EngineOptions
from moshi_phone.runtime.fd_passing import offering
from moshi_phone.server.lifecycle import listen
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.options import ReachOptions, TwilioOptions
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import FakeTwilioVoice
from tests.support.ports import free_ports

PUBLIC = "https://phone.example.com"
SMALL_PARROT = "tests.fakes.small_parrot:SmallParrot"
WORKERS = 8  # that a test may have


@dataclass(eq=False)
class Process:
    """A simulated process: what runs in it, and whether it is alive."""

    runs: Any
    kind: Kind
    number: int
    generation: int
    alive: bool = True
    unanswered: list[str] = field(default_factory=list[str])  # requests while it was dead


@dataclass
class LocalRuntime:
    """Starts what Ray would start."""

    settings: Settings
    started: list[str] = field(default_factory=list[str])
    processes: dict[str, Process] = field(default_factory=dict[str, Process])
    endings: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def start_worker(self, spec: WorkerSpec, number: int, generation: int) -> Process:
        return self._start(spec.name, Process(Worker(spec, run_call), "worker", number, generation))

    def start_gateway(self, name: str, number: int, generation: int) -> Process:
        gateway = Gateway(name, self.settings, self.transport)
        return self._start(name, Process(gateway, "gateway", number, generation))

    def transport(self, handle: Process) -> Transport:
        async def ask(method: str, arguments: tuple[Any, ...]) -> Any:
            if not handle.alive:
                handle.unanswered.append(method)
                raise RpcError("the process is dead")
            return await handle.runs.ask(method, arguments)

        return ask

    def kill(self, handle: Process, *, again: bool) -> None:
        handle.alive = False
        end = handle.runs.hang_up if isinstance(handle.runs, Worker) else handle.runs.stop
        ending = asyncio.ensure_future(end())
        self.endings.add(ending)
        if again:
            runs = handle.runs
            handle.alive = True
            handle.runs = (
                Worker(runs._spec, run_call)
                if isinstance(runs, Worker)
                else Gateway(runs.name, self.settings, self.transport)
            )

    def _start(self, name: str, process: Process) -> Process:
        self.started.append(name)
        self.processes[name] = process
        return process

    async def ended(self) -> None:
        """Wait until all killed processes have ended."""
        await asyncio.gather(*self.endings)
        workers = [one.runs for one in self.processes.values() if isinstance(one.runs, Worker)]
        await asyncio.gather(*(one._running for one in workers if one._running is not None))


@dataclass
class LocalCluster:
    """The handles that a test uses."""

    manager: Manager
    runtime: LocalRuntime
    address: str
    voice: FakeTwilioVoice

    def worker(self, name: str) -> Worker:
        worker: Worker = self.runtime.processes[name].runs
        return worker

    async def step_until(self, condition: Any, steps: int = 200) -> None:
        """Run the manager's steps until a condition holds."""
        for _ in range(steps):
            await self.manager.step()
            if condition():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(self.manager.status())

    async def ready(self) -> None:
        """Wait until all workers take calls, and all gateways know it."""
        await self.step_until(lambda: self.manager.ready)
        await self.refresh()

    async def refresh(self) -> None:
        """Have all gateways update their view of all workers now."""
        await asyncio.gather(*(one.runs.router.refresh() for one in self.gateways()))

    def survivors(self, *, is_current: bool = True) -> list[ExistingActor]:
        """Return the processes that outlive a killed command."""
        return [
            ExistingActor(one.kind, one.number, one.generation, is_current, one)
            for one in self.runtime.processes.values()
            if one.alive
        ]

    def gateways(self) -> list[Process]:
        return [one for one in self.runtime.processes.values() if isinstance(one.runs, Gateway) and one.alive]


def settings(**more: Any) -> Settings:
    """Return a cluster's settings: small parrots, a public URL."""
    return Settings(
        server=ServerOptions(port=free_ports(), drain_secs=20.0),
        engine=EngineOptions(engine=SMALL_PARROT),
        twilio=TwilioOptions(auth_token=AUTH_TOKEN),
        reach=ReachOptions(public_url=PUBLIC),
        **more,
    )


@asynccontextmanager
async def local_cluster(
    options: ClusterOptions | None = None, of: Settings | None = None, *, is_public: bool = True
) -> AsyncIterator[LocalCluster]:
    """Run a cluster whose workers all take calls; nothing of it runs at the end."""
    of = of or settings()
    if not is_public:
        of = replace(of, reach=ReachOptions())
    options = options or ClusterOptions(workers=3)
    if is_public:
        options = replace(options, worker_url=options.worker_url or "wss://{name}.example.com")
    if not options.worker_port:
        options = replace(options, worker_port=free_ports(WORKERS))
    runtime = LocalRuntime(of)
    manager = Manager(runtime, of, options)
    manager.gateway_url = PUBLIC if is_public else None
    address = f"127.0.0.1:{of.server.port}"
    numbers = range(1, WORKERS + 1)
    workers = {f"w{n}.example.com": f"127.0.0.1:{options.worker_port + n - 1}" for n in numbers}
    cluster = LocalCluster(manager, runtime, address, FakeTwilioVoice(PUBLIC, address, workers))
    with listen(of.server.host, of.server.port) as port:
        async with offering({PORT: port}) as manager.ports:
            try:
                await cluster.ready()
                yield cluster
            finally:
                cluster.manager.kill_all()
                await runtime.ended()
