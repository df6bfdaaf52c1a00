from __future__ import annotations

from moshi_phone.commands.checks.servers import check_servers
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.remote.options import RemoteOptions
from moshi_phone.runtime.ports import free_port


async def test_no_line_without_a_configured_server() -> None:
    assert await check_servers(EngineOptions(engine="parrot")) == []


async def test_an_unreachable_server_fails_with_its_remedy() -> None:
    options = EngineOptions(remote=RemoteOptions(server=(f"ws://127.0.0.1:{free_port()}",)))
    (check,) = await check_servers(options)
    assert check.state == "fail"
    assert check.remedy == "start it, or correct --server"


async def test_an_invalid_url_is_reported_without_a_connection() -> None:
    (check,) = await check_servers(EngineOptions(remote=RemoteOptions(server=("gpu-1",))))
    assert check.state == "fail"
    assert "gpu-1" in check.found
