"""A client of a server's ``/healthz`` and ``/calls``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from moshi_phone.rehearse.record import StatusSample
from moshi_phone.runtime.urls import beside

POLL_S = 0.25
FREE_WITHIN_S = 3.0


class StatusClient:
    """Requests a server's status. A server that does not answer is not an error: the result is None.

    Args:
        stream_url: the stream's URL; the others are relative to it.
        password: of the server's /calls, if any.
    """

    def __init__(self, stream_url: str, password: str | None = None) -> None:
        self._auth = aiohttp.BasicAuth("rehearsal", password) if password else None
        self._base = beside(stream_url, "")

    async def health(self) -> dict[str, Any] | None:
        """Request ``/healthz``."""
        return await self._ask("/healthz")

    async def metrics(self, call_sid: str) -> dict[str, Any] | None:
        """Request a call's metrics, while it runs or shortly after."""
        return await self._ask(f"/calls/{call_sid}")

    async def sample(self, call_sid: str) -> StatusSample | None:
        """Request a sample of a running call's metrics."""
        asked_s = time.perf_counter()
        metrics = await self.metrics(call_sid)
        return None if metrics is None else as_sample(metrics, asked_s)

    async def free(self, sessions_before: int) -> tuple[bool, str] | None:
        """Wait until no more sessions are open than before the call; return whether they closed in time."""
        deadline_s = time.perf_counter() + FREE_WITHIN_S
        while True:
            health = await self.health()
            if health is None or "sessions" not in health:
                return None
            open_now = int(health["sessions"])
            if open_now <= sessions_before:
                return True, f"{open_now} of {health.get('capacity', '?')} sessions open"
            if time.perf_counter() > deadline_s:
                return False, f"{open_now} sessions still open after {FREE_WITHIN_S:g} s"
            await asyncio.sleep(POLL_S)  # the server ends a call within tenths of a second

    @contextlib.asynccontextmanager
    async def listening(self, call_sid: str, samples: list[StatusSample]) -> AsyncIterator[None]:
        """Collect samples of a call's metrics while the block runs."""

        async def listen() -> None:
            while True:
                sample = await self.sample(call_sid)
                if sample is not None:
                    samples.append(sample)
                await asyncio.sleep(POLL_S)

        listening = asyncio.create_task(listen())
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.wait([listening])  # awaiting the task would raise CancelledError here

    async def _ask(self, path: str) -> dict[str, Any] | None:
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.get(self._base + path, auth=self._auth) as answer,
            ):
                said = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        # /healthz answers 503 when it takes no calls, with the same body.
        return said if isinstance(said, dict) and answer.status in (200, 503) else None


def as_sample(metrics: dict[str, Any], at_s: float) -> StatusSample | None:
    """Convert a call's metrics to a sample; None if fields are missing."""
    try:
        return StatusSample(
            at_s,
            int(metrics["backlog_frames"]),
            float(metrics["playout_lead_ms"]),
            int(metrics["dropped_frames"]),
            float(metrics["trimmed_ms"]),
            float(metrics.get("delay_parts_ms", {}).get("filters", 0.0)),
        )
    except (KeyError, TypeError, ValueError):
        return None
