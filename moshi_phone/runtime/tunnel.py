"""A public URL for this machine: runs cloudflared as a quick tunnel, and restarts it when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from loguru import logger

from moshi_phone.runtime.child_process import ChildProcess
from moshi_phone.runtime.cloudflared import (
    BINARY,
    GRACE_SECS,
    command,
    environment,
    how_to_install,
    url_in,
)
from moshi_phone.runtime.errors import UserError
from moshi_phone.runtime.ports import free_port
from moshi_phone.runtime.retries import Sleep

READY_SECS = 60.0
POLL_SECS = 0.25
# a connection that is lost for 12 s; cloudflared repairs shorter interruptions
LOOK_SECS, LOST_LOOKS = 4.0, 3
STOP_SECS = GRACE_SECS + 2.0
RESTART_DELAYS_SECS = (1.0, 2.0, 5.0, 10.0, 30.0)
TRY_SECS = 3.0

OnUrl = Callable[[str], Awaitable[None]]


class TunnelFailed(UserError):
    """The tunnel could not be opened. The text is one sentence with the remedy."""


def find_program(binary: str = BINARY) -> str:
    """Return cloudflared's path.

    Raises:
        TunnelFailed: when it is not installed.
    """
    path = shutil.which(binary)
    if path is None:
        raise TunnelFailed(
            f"{binary} is not installed: {how_to_install(machine=platform.machine())}, "
            "or give another public URL with --public-url"
        )
    return path


class Tunnel:
    """A quick tunnel. Its URL changes with each start of cloudflared.

    Args:
        port: port of our server on 127.0.0.1.
        on_url: called with each URL, once its tunnel is ready.
        binary: cloudflared's name or path.
        sleep: waits some seconds.
    """

    def __init__(
        self, port: int, on_url: OnUrl, *, binary: str = BINARY, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._port = port
        self._on_url = on_url
        self._binary = binary
        self._sleep = sleep
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # contains the empty config file
        self._run: _Run | None = None  # the current process
        self._keeping: asyncio.Task[None] | None = None  # restarts it when it breaks

    async def start(self) -> None:
        """Open the tunnel, and return when it is ready.

        Raises:
            TunnelFailed: when cloudflared is missing, ends, or is not ready in time.
        """
        path = find_program(self._binary)
        try:
            await self._open(path)
        except BaseException:
            await self.stop()
            raise
        self._keeping = asyncio.create_task(self._keep(path))

    async def stop(self) -> None:
        """Close the tunnel and all its processes. May be called twice."""
        if self._keeping:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
            self._keeping = None
        if self._run:
            await self._run.process.stop()
            self._run = None
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    async def _open(self, path: str) -> None:
        self._run = await _Run.begin(path, self._port, self._empty_config())
        await self._on_url(await self._run.ready(self._sleep))

    def _empty_config(self) -> Path:
        # A file and not /dev/null, which Windows does not have.
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="cloudflared-")
        config = Path(self._folder.name, "empty.yml")
        config.touch()
        return config

    async def _keep(self, path: str) -> None:
        """Start cloudflared again whenever it dies, or has lost its connection for good."""
        tries = 0
        while self._run:
            await self._run.until_broken()
            await self._run.process.stop()  # if it has ended, this releases its resources
            delay_secs = RESTART_DELAYS_SECS[min(tries, len(RESTART_DELAYS_SECS) - 1)]
            logger.warning(
                "The tunnel broke ({}); opening another in {:g} s",
                "it has lost its connection" if self._run.is_lost else self._run.last_output,
                delay_secs,
            )
            await self._sleep(delay_secs)
            try:
                await self._open(path)
                tries = 0
            except TunnelFailed as failure:
                logger.warning("{}", failure)
                await self._run.process.stop()
                tries += 1


class _Run:
    """One process of cloudflared, from its start to its end."""

    def __init__(self, metrics_port: int) -> None:
        self.process: ChildProcess  # set by ``begin``
        self.url: asyncio.Future[str] = asyncio.get_running_loop().create_future()  # found in its log
        self.is_lost = False  # whether it was ended because it had no connection
        self._metrics_url = f"http://127.0.0.1:{metrics_port}/ready"

    @classmethod
    async def begin(cls, path: str, port: int, config: Path) -> _Run:
        metrics_port = free_port()
        run = cls(metrics_port)
        try:
            run.process = await ChildProcess.start(
                command(path, port, metrics_port, config),
                grace_secs=STOP_SECS,
                on_line=run._hear,
                env=environment(os.environ),
            )
        except OSError as error:
            raise TunnelFailed(f"{path} cannot be run ({error.strerror}): install it again") from error
        return run

    @property
    def last_output(self) -> str:
        """The last line of cloudflared's output, errors first."""
        errors = [line for line in self.process.lines if " ERR " in line or "failed" in line]
        lines = errors or list(self.process.lines)
        return lines[-1] if lines else "no output"

    async def ready(self, sleep: Sleep) -> str:
        """Wait until the tunnel carries requests; return its URL.

        Raises:
            TunnelFailed: when the process ends before, or takes too long.
        """
        waited_secs = 0.0
        async with aiohttp.ClientSession() as http:
            while not (self.url.done() and await _says_ready(http, self._metrics_url)):
                if self.process.returncode is not None:
                    await self.process.wait()  # the last lines give the reason
                    raise TunnelFailed(
                        f"cloudflared ended with code {self.process.returncode}: {self.last_output}; "
                        "try again, or give another public URL with --public-url"
                    )
                if waited_secs >= READY_SECS:
                    raise TunnelFailed(
                        f"cloudflared was not ready in {READY_SECS:g} s: {self.last_output}; check that "
                        "this network lets port 7844 out, or give another public URL with --public-url"
                    )
                await sleep(POLL_SECS)
                waited_secs += POLL_SECS
        return self.url.result()

    async def until_broken(self) -> None:
        """Wait until the process ends, or has carried no requests for a while."""
        ends = asyncio.ensure_future(self.process.wait())
        loses = asyncio.ensure_future(self._until_lost())
        try:
            await asyncio.wait((ends, loses), return_when=asyncio.FIRST_COMPLETED)
            self.is_lost = not ends.done()
        finally:
            ends.cancel()
            loses.cancel()

    async def _until_lost(self) -> None:
        misses = 0
        async with aiohttp.ClientSession() as http:
            while misses < LOST_LOOKS:
                await asyncio.sleep(LOOK_SECS)
                misses = 0 if await _says_ready(http, self._metrics_url) else misses + 1

    def _hear(self, line: str) -> None:
        logger.debug("cloudflared: {}", line)
        url = url_in(line)
        if url and not self.url.done():
            self.url.set_result(url)


async def reaches(url: str, *, within_secs: float, wanted: str = "", sleep: Sleep = asyncio.sleep) -> bool:
    """Poll a public URL of ours from this machine, about once a second, until it answers.

    A new name may not resolve yet, and resolvers cache that answer; so even the first try waits a second.

    Args:
        url: a URL that answers 200, or 503 if no calls are taken.
        within_secs: time limit.
        wanted: text that the answer must contain.
        sleep: waits some seconds.
    """
    timeout = aiohttp.ClientTimeout(total=TRY_SECS)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http:  # also through a proxy
        for _ in range(max(1, int(within_secs))):
            await sleep(1.0)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with http.get(url) as answer:
                    if answer.status in (200, 503) and wanted in await answer.text(errors="replace"):
                        return True
    return False


async def _says_ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.status == 200  # noqa: PLR2004 - HTTP's OK
    except (aiohttp.ClientError, TimeoutError):
        return False
