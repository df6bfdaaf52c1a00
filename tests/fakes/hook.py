"""A user's hook: an HTTP server on the loopback that records its requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeHook:
    """The requests that it got.

    Attributes:
        url: where it is.
        bodies: of each request, as they came.
        signatures: the header of each, or None.
    """

    url: str = ""
    bodies: list[bytes] = field(default_factory=list[bytes])
    signatures: list[str | None] = field(default_factory=list[str | None])

    @property
    def told(self) -> list[dict[str, Any]]:
        """The parsed requests."""
        return [json.loads(body) for body in self.bodies]


@asynccontextmanager
async def hook(answer: Answer) -> AsyncIterator[FakeHook]:
    """Run a hook; ``answer`` gives its responses."""
    fake = FakeHook()

    async def handle(request: web.Request) -> web.StreamResponse:
        fake.bodies.append(await request.read())
        fake.signatures.append(request.headers.get("X-Moshi-Signature"))
        return await answer(request)

    app = web.Application()
    app.router.add_post("/hook", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield fake
    finally:
        await runner.cleanup()


def says(text: str | bytes = b"", status: int = 200, **headers: str) -> Answer:
    """Return a constant answer."""

    async def answer(_: web.Request) -> web.Response:
        body = text.encode() if isinstance(text, str) else text
        return web.Response(status=status, body=body, headers=headers)

    return answer
