"""Servers elsewhere as an engine: one lease a call, and an eye on each server."""

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
    CallOverrides,
    DuplexEngine,
    EngineBusy,
    EngineUnavailable,
    Progress,
    RequestRefused,
    ServerStatus,
)
from moshi_phone.engines.remote.connection import Access, make_tls, probe
from moshi_phone.engines.remote.options import RemoteOptions
from moshi_phone.engines.remote.pool import Backend, BackendPool
from moshi_phone.engines.remote.query import (
    RemoteCallSetting,
    cannot,
    make_query,
    silent_frames,
    supported_overrides,
)
from moshi_phone.engines.remote.server import Server, parse_server
from moshi_phone.engines.remote.session import CallSettings, RemoteSession

Probe = Callable[[Server, Access], Awaitable[str | None]]
CODER_THREADS = 2  # 1.1 ms of Opus for 80 ms of a call: enough for 100 calls


class RemoteEngine(DuplexEngine):
    """Holds the servers, and hands out sessions with them.

    Args:
        options: which servers, and how they are reached.
        wish: what every call sets of the model.
        greeting_frames: for how long the model hears silence so that it speaks first, where that is how.
        probe: looks whether a server is there.
        coder: where Opus is encoded; by default a few threads of its own.

    Raises:
        EngineUnavailable: when the options make no sense.
    """

    name = "remote"

    def __init__(
        self,
        options: RemoteOptions,
        wish: RemoteCallSetting | None = None,
        greeting_frames: int = 25,
        *,
        probe: Probe = probe,
        coder: Executor | None = None,
    ) -> None:
        self._options = options
        self._wish = wish or RemoteCallSetting()
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
        for server in servers:  # whatever is wrong is said now, and not to the first caller
            make_query(self._wish, server.dialect)
        encrypted = any(server.is_encrypted for server in servers)
        tls = make_tls(options.server_ca, insecure=options.server_insecure) if encrypted else None
        self._access = Access(options.server_token, tls)
        self._pool = BackendPool(servers, options.calls_per_server)
        self._sessions: set[RemoteSession] = set()
        self._probe = probe
        self._coder = coder or ThreadPoolExecutor(CODER_THREADS, thread_name_prefix="opus")
        self._watching: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.capacity = 0
        self.supported_overrides = frozenset.intersection(
            *(supported_overrides(server.dialect) for server in servers)
        )

    @property
    def running(self) -> int:
        """See ``DuplexEngine``."""
        return self._pool.calls

    @property
    def error(self) -> str | None:
        """See ``DuplexEngine``. One server that answers is enough."""
        return self._pool.error if self._watching else "The servers have not been looked at."

    @property
    def servers(self) -> Sequence[ServerStatus]:
        """See ``DuplexEngine``."""
        return [
            ServerStatus(
                place.server.name, place.server.dialect.kind, place.calls, place.capacity, place.error
            )
            for place in self._pool.backends
        ]

    async def start(self, progress: Progress) -> None:
        """See ``DuplexEngine``."""
        await self._look(self._pool.backends)
        for place in self._pool.backends:
            name, dialect = place.server.name, place.server.dialect
            progress(place.error or f"Server {name} ({dialect.title}): it is there.")
            if place.capacity > 1 and not dialect.holds_many:
                progress(
                    f"{dialect.title} lets a second caller wait in silence: --calls-per-server "
                    f"{place.capacity} needs something before {name} that spreads the calls."
                )
            if self._options.server_token and not place.server.is_encrypted:
                progress(
                    f"--server-token goes to {name} unencrypted; with wss: nobody in between can read it."
                )
        for line in dict.fromkeys(
            line for place in self._pool.backends for line in cannot(self._wish, place.server.dialect)
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
            for place in self._pool.backends:
                make_query(self._wish.with_request(request), place.server.dialect)
        except EngineUnavailable as error:
            raise RequestRefused(str(error)) from error

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> RemoteSession:
        """See ``DuplexEngine``."""
        self.check_request(request)
        if self.error is not None:
            raise EngineBusy(self.error)
        place = self._pool.lease()
        if place is None:
            raise EngineBusy("Every server that answers has all the calls that it holds.")
        session = RemoteSession(
            self,
            place,
            self._access,
            settings_for=partial(self._settings_for, self._wish.with_request(request)),
            wait_secs=self._options.server_wait_secs,
            coder=self._coder,
        )
        self._sessions.add(session)
        self._count()
        return session

    async def stop(self) -> None:
        """See ``DuplexEngine``."""
        monitoring_router, self._watching = self._watching, None
        if monitoring_router is not None:
            monitoring_router.cancel()
            await asyncio.wait([monitoring_router])
        await asyncio.gather(*(session.close() for session in list(self._sessions)))
        self._coder.shutdown(wait=False)

    # What the sessions tell.

    def _settings_for(self, wish: RemoteCallSetting, place: Backend) -> CallSettings:
        """Say what a call with this server is set by."""
        dialect = place.server.dialect
        limit_frames = dialect.limit_frames
        return CallSettings(
            make_query(wish, dialect),
            silent_frames(wish, dialect, self._greeting_frames),
            None if limit_frames is None else min(limit_frames, self._options.max_steps),
        )

    def on_reached(self, place: Backend) -> None:
        """Hear that a call has reached a server's model."""
        self._pool.reached(place)

    def move(self, place: Backend, error: str) -> Backend | None:
        """Take a server out that cannot be reached, and give another one for the call, or None."""
        self._take_out(place, error)
        other = self._pool.lease()
        if other is None:
            return None
        self._pool.release(place, self._now_s())
        self._count()
        logger.info("The call goes to server {} instead", other.server.name)
        return other

    def on_failed(self, place: Backend, error: str, *, server_failed: bool) -> None:
        """Count a lost call, and take its server out if that is to blame."""
        if server_failed:
            self.lost_calls += 1
            if place.error != error:  # it was not taken out for this already
                self._take_out(place, error)

    def on_closed(self, session: RemoteSession, place: Backend) -> None:
        """Take a lease back."""
        self._sessions.discard(session)
        self._pool.release(place, self._now_s())
        self._count()

    def _take_out(self, place: Backend, error: str) -> None:
        if place.error is None:
            logger.warning("{}; it gets no calls until it answers again", error)
        self._pool.failed(place, error, self._now_s())
        self._count()

    # The eye on the servers.

    async def _watch(self) -> None:
        while True:
            self._changed.clear()
            next_s = self._pool.next_look_s()
            pause_s = max(next_s - self._now_s(), 0.0) if math.isfinite(next_s) else None
            # Not wait_for: in Python 3.11 it can swallow the cancellation that ends this task.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            await self._look(self._pool.due(self._now_s()))

    async def _look(self, backends: Sequence[Backend]) -> None:
        async def look(place: Backend) -> None:
            error = await self._probe(place.server, self._access)
            before = place.error
            self._pool.record_probe(place, error, self._now_s())
            self._count()
            if error is None and before is not None and self._watching is not None:
                logger.info("Server {} answers again", place.server.name)
            elif error is not None and before is None:
                logger.warning("{}; it gets no calls until it answers again", error)

        await asyncio.gather(*(look(place) for place in backends))

    def _count(self) -> None:
        """A server that is out counts for the calls that it holds still, and for no more."""
        self.capacity = self._pool.calls + self._pool.free
        self._changed.set()

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()
