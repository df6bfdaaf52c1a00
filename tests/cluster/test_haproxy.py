"""deploy/haproxy.cfg in a real HAProxy: one host name, a path for each worker."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme

from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.runtime.ports import free_port
from tests.cluster.local_cluster import PUBLIC, LocalCluster, local_cluster
from tests.fakes.twilio_voice import FakeTwilioVoice

HAPROXY = shutil.which("haproxy")
CONFIG = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="needs Debian's package haproxy")


async def run(*arguments: str) -> tuple[int, str]:
    assert HAPROXY is not None
    process = await asyncio.create_subprocess_exec(
        HAPROXY, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_haproxy_accepts_the_file_without_a_warning(tmp_path: Path) -> None:
    certificate = tmp_path / "phone.pem"
    issued = trustme.CA().issue_cert("phone.example.com")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG.read_text().replace("/etc/haproxy/phone.pem", str(certificate)))
    code, said = await run("-c", "-f", str(config))
    assert (code, "WARNING" in said) == (0, False), said


@asynccontextmanager
async def proxied(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    """A cluster whose public URL leads to HAProxy, configured by the file except for ports and TLS."""
    async with local_cluster(ClusterOptions(workers=2, worker_url=f"{PUBLIC}/{{name}}")) as cluster:
        port = free_port()
        text = re.sub(r"bind :443 .*", f"bind 127.0.0.1:{port}", CONFIG.read_text())
        text = text.replace("127.0.0.1:5001", cluster.address)
        for number in range(1, 9):
            text = text.replace(
                f"127.0.0.1:{5100 + number}", cluster.voice._workers[f"w{number}.example.com"]
            )
        config = tmp_path / "haproxy.cfg"
        config.write_text(text)
        assert HAPROXY is not None
        process = await asyncio.create_subprocess_exec(HAPROXY, "-db", "-f", str(config))
        try:
            async with asyncio.timeout(10), aiohttp.ClientSession() as http:
                while True:
                    try:
                        async with http.get(f"http://127.0.0.1:{port}/healthz") as answer:
                            assert answer.status == 200
                            break
                    except aiohttp.ClientConnectionError:
                        await asyncio.sleep(0.05)
            cluster.voice = FakeTwilioVoice(PUBLIC, f"127.0.0.1:{port}")
            yield cluster
        finally:
            process.terminate()
            await process.wait()


async def test_streams_go_to_their_worker_and_other_requests_to_the_gateways(tmp_path: Path) -> None:
    async with proxied(tmp_path) as cluster:
        for number, worker in ((1, "w1"), (2, "w2")):
            sid = f"CA{number:032x}"
            twiml = await cluster.voice.call_in(f"{PUBLIC}/twiml", sid)
            assert f'url="wss://phone.example.com/{worker}/stream"' in twiml
            async with cluster.voice.obey(twiml, sid) as (phone, status_url):
                assert status_url == f"{PUBLIC}/status"
                await phone.say(times=4)
                await phone.listen(1)
                state = cluster.worker(worker)._state
                assert state is not None
                assert len(state.calls.running) == 1
                await cluster.refresh()
        async with aiohttp.ClientSession() as http:
            for path in ("/w1/calls", "/w1/twiml", "/w9/stream"):
                async with http.get(f"http://{cluster.voice._local}{path}") as answer:
                    assert answer.status in (404, 405), "of a worker the world reaches its stream alone"
