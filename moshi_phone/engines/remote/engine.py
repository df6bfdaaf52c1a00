"""Remote servers as an engine: one lease for each call, and a probe of each idle server."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

from loguru import logger

from moshi_phone.engines.duplex import (
    NO_OVERRIDES,
    BackendStatus,
    CallOverrides,
    DuplexEngine,
    EngineBusy,
    EngineUnavailable,
    Progress,
    RequestRefused,
)
from moshi_phone.engines.remote.connection import Access, make_tls, probe
from moshi_phone.engines.remote.options import RemoteOptions
from moshi_phone.engines.remote.pool import Backend, BackendPool
from moshi_phone.engines.remote.query import (
    CallSettings,
    RemoteCallSettings,
    make_query,
    silent_frames,
    supported_overrides,
    unsupported_settings,
)
from moshi_phone.engines.remote.server import Server, parse_server
from moshi_phone.engines.remote.session import RemoteSession

Probe = Callable[[Server, Access], Awaitable[str | None]]
CODER_THREADS = 2  # 1.1 ms of Opus for 80 ms of a call: enough for 100 calls


class RemoteEngine(DuplexEngine):
    """Opens sessions with the servers.

    Args:
        options: the servers and the connections to them.
        requested: settings of the model for every call.
        greeting_frames: see ``query.silent_frames``.
        probe: checks whether a server answers.
        coder: threads that encode Opus; by default a few new ones.

    Raises:
        EngineUnavailable: when the options are invalid.
    """

    name = "remote"

    def __init__(
        self,
        options: RemoteOptions,
        requested: RemoteCallSettings | None = None,
        greeting_frames: int = 25,
        *,
        probe: Probe = probe,
        coder: Executor | None = None,
    ) -> None:
        self._options = options
        self._requested = requested or RemoteCallSettings()
        self._greeting_frames = greeting_frames
        servers = [parse_server(one, options.server_kind) for one in options.server]
        if not servers:
            raise EngineUnavailable(
                "--engine remote needs a server: --server ws://gpu-1:8998 (MOSHI_SERVER), once for each."
            )
        if twice := {one.name for one in servers if sum(one.name == other.name for other in servers) > 1}:
            raise EngineUnavailable(
                f"--server names {', '.join(sorted(twice))} twice; --calls-per-server says how many calls "
                "a server holds."
            )
        for server in servers:  # an invalid setting should fail at the start, not with the first call
            make_query(self._requested, server.profile)
        encrypted = any(server.is_encrypted for server in servers)
        tls = make_tls(options.server_ca, insecure=options.server_insecure) if encrypted else None
        self._access = Access(options.server_token, tls)
        self._pool = BackendPool(servers, options.calls_per_server)
        self._sessions: set[RemoteSession] = set()  # running ones; used on the event loop only, like the pool
        self._probe = probe
        self._coder = coder or ThreadPoolExecutor(CODER_THREADS, thread_name_prefix="opus")
        self._watching: asyncio.Task[None] | None = None  # from a successful start to the stop
        self._changed = asyncio.Event()  # wakes the probing task: the time of the next probe may have changed
        self.capacity = 0  # recomputed whenever a server changes state or gets a call
        self.supported_overrides = frozenset.intersection(
            *(supported_overrides(server.profile) for server in servers)
        )

    @property
    def running(self) -> int:
        """See ``DuplexEngine``."""
        return self._pool.calls

    @property
    def error(self) -> str | None:
        """See ``DuplexEngine``. One server that answers is enough."""
        return self._pool.error if self._watching else "The servers have not been probed yet."

    @property
    def servers(self) -> Sequence[BackendStatus]:
        """See ``DuplexEngine``."""
        return [
            BackendStatus(
                backend.server.name,
                backend.server.profile.kind,
                backend.calls,
                backend.capacity,
                backend.error,
            )
            for backend in self._pool.backends
        ]

    async def start(self, progress: Progress) -> None:
        """See ``DuplexEngine``."""
        await self._probe_all(self._pool.backends)
        for backend in self._pool.backends:
            name, profile = backend.server.name, backend.server.profile
            progress(backend.error or f"Server {name} ({profile.title}): it answers.")
            if backend.capacity > 1 and not profile.holds_many:
                progress(
                    f"{profile.title} serves one caller at a time, and a second waits in silence: "
                    f"--calls-per-server {backend.capacity} needs a load balancer in front of {name}."
                )
            if self._options.server_token and not backend.server.is_encrypted:
                progress(f"--server-token goes to {name} unencrypted; use wss: to protect it.")
        for line in dict.fromkeys(
            line
            for backend in self._pool.backends
            for line in unsupported_settings(self._requested, backend.server.profile)
        ):
            progress(line)
        if self._pool.error is not None:
            raise EngineUnavailable(f"{self._pool.error} Start a server, or correct --server.")
        self._watching = asyncio.create_task(self._watch())
        self._count()
        progress(f"Ready for {self.capacity} call{'s' if self.capacity > 1 else ''} at once.")

    def check_request(self, request: CallOverrides) -> None:
        """See ``DuplexEngine``. Any server may get the call, so all of them must be able to."""
        super().check_request(request)
        try:
            for backend in self._pool.backends:
                make_query(self._requested.with_request(request), backend.server.profile)
        except EngineUnavailable as error:
            raise RequestRefused(str(error)) from error

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> RemoteSession:
        """See ``DuplexEngine``."""
        self.check_request(request)
        if self.error is not None:
            raise EngineBusy(self.error)
        backend = self._pool.lease()
        if backend is None:
            raise EngineBusy("All servers that answer are at capacity.")
        session = RemoteSession(
            self,
            backend,
            self._access,
            settings_for=partial(self._settings_for, self._requested.with_request(request)),
            wait_secs=self._options.server_wait_secs,
            coder=self._coder,
        )
        self._sessions.add(session)
        self._count()
        return session

    async def stop(self) -> None:
        """See ``DuplexEngine``."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
        await asyncio.gather(*(session.close() for session in list(self._sessions)))
        self._coder.shutdown(wait=False)

    def _settings_for(self, requested: RemoteCallSettings, backend: Backend) -> CallSettings:
        """Return a call's settings for a server."""
        profile = backend.server.profile
        limit_frames = profile.limit_frames
        return CallSettings(
            make_query(requested, profile),
            silent_frames(requested, profile, self._greeting_frames),
            None if limit_frames is None else min(limit_frames, self._options.max_steps),
        )

    def on_reached(self, backend: Backend) -> None:
        """See ``SessionOwner``."""
        self._pool.reached(backend)

    def move(self, backend: Backend, error: str) -> Backend | None:
        """See ``SessionOwner``. The unreachable server is taken out of service."""
        self._take_out(backend, error)
        other = self._pool.lease()
        if other is None:
            return None
        self._pool.release(backend, self._now_s())
        self._count()
        logger.info("Moved the call to server {}", other.server.name)
        return other

    def on_failed(self, backend: Backend, error: str, *, server_failed: bool) -> None:
        """Count a lost call; take its server out of service if that caused it."""
        if server_failed:
            self.lost_calls += 1
            if backend.error != error:  # unless another call has already taken it out
                self._take_out(backend, error)

    def on_closed(self, session: RemoteSession, backend: Backend) -> None:
        """See ``SessionOwner``."""
        self._sessions.discard(session)
        self._pool.release(backend, self._now_s())
        self._count()

    def _take_out(self, backend: Backend, error: str) -> None:
        if backend.error is None:
            logger.warning("{}; out of service until it answers again", error)
        self._pool.failed(backend, error, self._now_s())
        self._count()

    async def _watch(self) -> None:
        while True:
            self._changed.clear()
            next_s = self._pool.next_probe_s()
            pause_s = max(next_s - self._now_s(), 0.0) if math.isfinite(next_s) else None
            # Not wait_for: in Python 3.11 it can swallow the cancellation that ends this task.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            await self._probe_all(self._pool.due(self._now_s()))

    async def _probe_all(self, backends: Sequence[Backend]) -> None:
        async def probe(backend: Backend) -> None:
            error = await self._probe(backend.server, self._access)
            before = backend.error
            self._pool.record_probe(backend, error, self._now_s())
            self._count()
            if error is None and before is not None and self._watching is not None:
                logger.info("Server {} answers again", backend.server.name)
            elif error is not None and before is None:
                logger.warning("{}; out of service until it answers again", error)

        await asyncio.gather(*(probe(backend) for backend in backends))

    def _count(self) -> None:
        """Recompute the capacity: a server out of service counts for its running calls only."""
        self.capacity = self._pool.calls + self._pool.free
        self._changed.set()

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()
