"""The Ray runtime: starts a cluster's processes on Ray's machines, and restarts those that die."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from moshi_phone.cluster.gateway import Gateway
from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.cluster.rpc import RpcError, Transport
from moshi_phone.cluster.runtime import ActorName, ExistingActor, Kind, digest
from moshi_phone.cluster.worker import Worker
from moshi_phone.cluster.worker_spec import WorkerSpec
from moshi_phone.runtime.errors import first_line
from moshi_phone.runtime.plugin import load
from moshi_phone.runtime.version import VERSION
from moshi_phone.server.settings import Settings, SettingsError

StartLog = Callable[[], None]

_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # Ray's minimum; this program does not use the object store
_ALWAYS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # run in this environment, not in a copy
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without --gpus-per-worker all see the GPU
    "RAY_worker_niceness": "0",  # Ray's default of 15 would put calls behind every other process
    "RAY_DEDUP_LOGS": "0",
    "RAY_COLOR_PREFIX": "0",
    "LOGURU_LEVEL": "WARNING",  # until start_log: hides pipecat's banner on import
}
_ON_THIS_MACHINE = {
    # Makes Ray bind to loopback on every system; --node-ip-address 127.0.0.1 does not (2.60).
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_memory_monitor_refresh_ms": "0",  # off: it would kill workers before memory runs out
}


class _WorkerActor(Worker):
    """A worker as a Ray actor."""

    def __init__(self, spec: WorkerSpec, run_call: str, start_log: StartLog) -> None:
        start_log()
        super().__init__(spec, load(run_call, "run_call"))

    def __repr__(self) -> str:
        return self.name


class _GatewayActor(Gateway):
    """A gateway as a Ray actor."""

    def __init__(self, name: str, settings: Settings, start_log: StartLog) -> None:
        start_log()
        super().__init__(name, settings, transport)

    def __repr__(self) -> str:
        return self.name


class RayRuntime:
    """Starts Ray actors. In an external Ray cluster they are named and outlive this process.

    Args:
        settings: the cluster's settings.
        options: Ray's address, and the resources of each worker.
        run_call: ``MODULE:FUNCTION`` that runs a call.
        start_log: configures a process' log.
    """

    def __init__(
        self, settings: Settings, options: ClusterOptions, run_call: str, start_log: StartLog
    ) -> None:
        import ray  # noqa: PLC0415 - an extra

        self._ray = ray
        self._settings = settings
        self._options = options
        self._run_call = run_call
        self._start_log = start_log
        self._auth_token = settings.twilio.auth_token or ""

    @property
    def settings_digest(self) -> str:
        """Digest of all settings, to recognize processes that were started with the same ones."""
        options = self._options
        each = (options.worker_url, options.worker_port, options.gpus_per_worker, options.cpus_per_worker)
        return digest(
            self._auth_token, repr((VERSION, self._run_call, each, dataclasses.astuple(self._settings)))
        )

    def start_worker(self, spec: WorkerSpec, number: int, generation: int) -> Any:
        """See ``Runtime``."""
        actor = self._ray.remote(_WorkerActor).options(
            num_cpus=self._options.cpus_per_worker,
            num_gpus=self._options.gpus_per_worker,
            max_restarts=-1,
            scheduling_strategy="SPREAD",
            **self._life("worker", number, generation),
        )
        return actor.remote(spec, self._run_call, self._start_log)

    def start_gateway(self, name: str, number: int, generation: int) -> Any:
        """See ``Runtime``."""
        actor = self._ray.remote(_GatewayActor).options(
            num_cpus=0, max_restarts=-1, **on_this_machine(), **self._life("gateway", number, generation)
        )
        return actor.remote(name, self._settings, self._start_log)

    def survivor(self, name: ActorName, handle: Any) -> ExistingActor:
        """Describe a process of an earlier command, and compare its settings with this one's."""
        is_current = name.settings == self.settings_digest
        return ExistingActor(name.kind, name.number, name.generation, is_current, handle)

    def _life(self, kind: Kind, number: int, generation: int) -> dict[str, str]:
        if self._options.ray_address is None:
            return {}
        account, nonce = digest(self._auth_token), secrets.token_hex(4)
        name = ActorName(account, kind, number, generation, self.settings_digest, nonce)
        return {"lifetime": "detached", "name": str(name)}

    def transport(self, handle: Any) -> Transport:
        """See ``Runtime``."""
        return transport(handle)

    def kill(self, handle: Any, *, again: bool) -> None:
        """See ``Runtime``."""
        self._ray.kill(handle, no_restart=not again)


def on_this_machine() -> dict[str, Any]:
    """Return actor options that place it on this machine, which has the public port."""
    import ray  # noqa: PLC0415 - an extra
    from ray.util.scheduling_strategies import (  # noqa: PLC0415 - likewise
        NodeAffinitySchedulingStrategy,
    )

    here = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}


def transport(handle: Any) -> Transport:
    """Return the transport to an actor."""
    return partial(_ask, handle)


async def _ask(handle: Any, method: str, arguments: tuple[Any, ...]) -> Any:
    from ray.exceptions import RayError  # noqa: PLC0415 - an extra

    try:
        return await handle.ask.remote(method, arguments)
    except RayError as error:
        # Ray's message contains a traceback and remote paths; the first line is enough.
        raise RpcError(f"{type(error).__name__}: {first_line(error)[:200]}") from error


@contextmanager
def ray_running(address: str | None) -> Iterator[None]:
    """Join a Ray cluster while the block runs, or start a private one on this machine.

    Args:
        address: ``HOST:PORT`` of a running cluster, or None to start one.

    Raises:
        SettingsError: when Ray is not installed, or the address is unreachable.
    """
    # Ray reads these when it is imported.
    os.environ.update(_ALWAYS if address else _ALWAYS | _ON_THIS_MACHINE)
    if address is None:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        import ray  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise SettingsError("cluster needs Ray: uv run --extra ray bot.py cluster …") from error
    common = {"namespace": "moshi-phone", "logging_level": "warning", "log_to_driver": True}
    if address:
        try:
            ray.init(address=address, **common)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SettingsError(f"--ray-address {address}: {first_line(error)}.") from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    # Not under TMPDIR: the paths of Ray's sockets are limited to about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="moshi-ray-", dir="/tmp"))
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=str(folder / "ray"),
            **common,
        )
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
