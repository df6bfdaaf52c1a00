from __future__ import annotations

from moshi_phone.commands.checks.servers import check_servers
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.remote.options import RemoteOptions
from moshi_phone.runtime.ports import free_port


async def test_no_line_where_no_server_is_asked_for() -> None:
    assert await check_servers(EngineOptions(engine="parrot")) == []


async def test_one_that_is_not_there_fails_and_says_what_to_mend() -> None:
    options = EngineOptions(remote=RemoteOptions(server=(f"ws://127.0.0.1:{free_port()}",)))
    (check,) = await check_servers(options)
    assert check.state == "fail"
    assert check.remedy == "start it, or correct --server"


async def test_one_that_is_no_url_is_found_before_it_is_called() -> None:
    (check,) = await check_servers(EngineOptions(remote=RemoteOptions(server=("gpu-1",))))
    assert check.state == "fail"
    assert "gpu-1" in check.found
