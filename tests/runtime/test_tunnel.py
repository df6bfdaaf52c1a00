"""runtime/tunnel.py: a real process that behaves like cloudflared, correctly and not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from moshi_phone.runtime import tunnel as tunnel_module
from moshi_phone.runtime.tunnel import POLL_SECS, READY_SECS, Tunnel, TunnelFailed, reaches
from tests.fakes.cloudflared import API_ERROR, URL, FakeCloudflared
from tests.support.logs import Logged

OTHER_URL = "https://slow-blue-whale-swims.trycloudflare.com"


class Clock:
    """Replaces sleep: time passes as fast as the test allows."""

    def __init__(self) -> None:
        self.secs = 0.0
        self.naps: list[float] = []

    async def __call__(self, secs: float) -> None:
        self.secs += secs
        self.naps.append(secs)
        await asyncio.sleep(0)


class Urls:
    """Records each URL that the tunnel reports."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._news = asyncio.Event()

    async def __call__(self, url: str) -> None:
        self.all.append(url)
        self._news.set()

    async def next(self) -> None:
        await self._news.wait()
        self._news.clear()


@pytest.fixture
async def cloudflared(tmp_path: Path) -> AsyncIterator[FakeCloudflared]:
    async with FakeCloudflared(tmp_path) as fake:
        yield fake


def make(cloudflared: FakeCloudflared, urls: Urls, sleep: object = asyncio.sleep) -> Tunnel:
    return Tunnel(5001, urls, binary=str(cloudflared.path), sleep=sleep)  # type: ignore[arg-type]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_opens_and_closes(cloudflared: FakeCloudflared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "secret")
    urls = Urls()
    tunnel = make(cloudflared, urls)
    starting = asyncio.create_task(tunnel.start())
    run = await cloudflared.runs.get()
    assert run.argv[:1] == ["tunnel"]
    assert "TWILIO_AUTH_TOKEN" not in psutil.Process(run.pid).environ(), "it gets none of our secrets"
    assert run.argv[run.argv.index("--url") + 1] == "http://127.0.0.1:5001"
    assert run.config == ""
    await run.log(f"INF |  {URL}  |")
    assert not starting.done()
    assert urls.all == []  # a URL alone is not enough: it does not lead here yet
    await run.be_ready(url=None)
    await starting
    assert urls.all == [URL]
    await tunnel.stop()
    assert await run.told() == {"sigterm": True}
    assert not is_running(run.pid)
    assert not os.access(run.argv[run.argv.index("--config") + 1], os.F_OK)
    await tunnel.stop()


async def test_a_start_of_20_seconds(cloudflared: FakeCloudflared) -> None:
    urls, clock = Urls(), Clock()
    waited = asyncio.Event()

    async def sleep(secs: float) -> None:
        await clock(secs)
        if clock.secs >= 20:
            waited.set()
            await go_on.wait()

    go_on = asyncio.Event()
    tunnel = make(cloudflared, urls, sleep)
    starting = asyncio.create_task(tunnel.start())
    run = await cloudflared.runs.get()
    await waited.wait()
    assert urls.all == []
    await run.be_ready()
    go_on.set()
    await starting
    assert urls.all == [URL]
    assert 20 <= clock.secs < READY_SECS
    await tunnel.stop()


async def test_a_tunnel_that_never_becomes_ready(cloudflared: FakeCloudflared) -> None:
    urls, clock = Urls(), Clock()
    started = asyncio.Event()

    async def sleep(secs: float) -> None:
        await started.wait()
        await clock(secs)

    tunnel = make(cloudflared, urls, sleep)
    starting = asyncio.create_task(tunnel.start())
    run = await cloudflared.runs.get()
    await run.log("2026-01-01T00:00:09Z ERR Failed to dial a quic connection error=timeout", "INF Retrying")
    started.set()
    with pytest.raises(TunnelFailed, match=r"not ready in 60 s: .*Failed to dial a quic.*port 7844 out, or"):
        await starting
    assert clock.naps == [POLL_SECS] * int(READY_SECS / POLL_SECS)
    assert not is_running(run.pid)
    assert urls.all == []


async def test_a_process_that_dies_before_it_is_ready(cloudflared: FakeCloudflared) -> None:
    starting = asyncio.create_task(make(cloudflared, Urls()).start())
    run = await cloudflared.runs.get()
    await run.log(API_ERROR, "INF goodbye")
    await run.die(1)
    with pytest.raises(TunnelFailed, match=r"ended with code 1: .*no such host; try again, or give another"):
        await starting


async def test_a_process_that_dies_later_is_restarted(cloudflared: FakeCloudflared) -> None:
    urls, clock = Urls(), Clock()

    async def sleep(secs: float) -> None:
        # Polling waits for a real process, so it takes real time; the pauses between starts do not.
        await (asyncio.sleep if secs == POLL_SECS else clock)(secs)

    tunnel = make(cloudflared, urls, sleep)
    cloudflared.ready_at_once = True
    await tunnel.start()
    await urls.next()
    first = await cloudflared.runs.get()
    cloudflared.ready_at_once = False
    await first.die(137)
    second = await cloudflared.runs.get()
    await second.die(1)  # and does not come up at the first try
    third = await cloudflared.runs.get()
    await third.be_ready(OTHER_URL)
    await urls.next()
    assert urls.all == [URL, OTHER_URL]
    assert clock.naps == [1.0, 2.0]
    await tunnel.stop()
    assert not is_running(third.pid)


async def test_a_lost_connection_restarts_the_tunnel(
    cloudflared: FakeCloudflared, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """Its URL leads nowhere for ever; only /ready shows it."""
    monkeypatch.setattr(tunnel_module, "LOOK_SECS", 0.05)
    cloudflared.ready_at_once = True
    urls = Urls()
    tunnel = make(cloudflared, urls)
    await tunnel.start()
    await urls.next()
    first = await cloudflared.runs.get()
    await asyncio.sleep(0.5)
    assert is_running(first.pid), "as long as it is ready"
    cloudflared.ready_at_once = False
    await first.lose_connection()
    async with asyncio.timeout(20):
        second = await cloudflared.runs.get()
    assert not is_running(first.pid)
    await second.be_ready(OTHER_URL)
    await urls.next()
    assert urls.all == [URL, OTHER_URL]
    assert "The tunnel broke (it has lost its connection); opening another" in logged.text
    await tunnel.stop()
    assert not is_running(second.pid)


async def test_a_process_that_ignores_sigterm_is_killed(
    cloudflared: FakeCloudflared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel_module, "STOP_SECS", 0.05)
    cloudflared.ready_at_once = True
    tunnel = make(cloudflared, Urls())
    await tunnel.start()
    run = await cloudflared.runs.get()
    await run.ignore_sigterm()
    await tunnel.stop()
    assert await run.told() == {"sigterm": True}
    assert not is_running(run.pid)


async def test_a_cancelled_start_ends_the_process(cloudflared: FakeCloudflared) -> None:
    starting = asyncio.create_task(make(cloudflared, Urls()).start())
    run = await cloudflared.runs.get()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not is_running(run.pid)


async def test_a_missing_cloudflared() -> None:
    with pytest.raises(
        TunnelFailed, match=r"^no-such-program is not installed: .*, or give another public URL"
    ):
        await Tunnel(5001, Urls(), binary="no-such-program").start()


async def test_a_cloudflared_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "cloudflared").write_text("not a program")
    (tmp_path / "cloudflared").chmod(0o755)
    with pytest.raises(TunnelFailed, match="cannot be run"):
        await Tunnel(5001, Urls(), binary=str(tmp_path / "cloudflared")).start()


async def test_the_public_url_is_probed() -> None:
    answers = iter([404, 502, 200, 200, 200])

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=next(answers), text="ours")

    app = web.Application()
    app.router.add_get("/healthz", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/healthz"
    clock = Clock()
    try:
        assert not await reaches(url, within_secs=2, sleep=clock)
        assert await reaches(url, within_secs=5, sleep=clock)
        assert await reaches(url, within_secs=1, wanted="ours", sleep=clock)
        assert not await reaches(url, within_secs=1, wanted="theirs", sleep=clock)
    finally:
        await runner.cleanup()
    assert not await reaches(url, within_secs=2, sleep=clock)
    assert clock.naps == [1.0] * 7
