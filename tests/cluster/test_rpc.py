from __future__ import annotations

import asyncio

import pytest

from moshi_phone.cluster.rpc import RpcClient, RpcError, RpcServer, ask_each


class Greeter(RpcServer):
    async def greet(self, name: str) -> str:
        return f"Hello, {name}."

    async def hang(self) -> None:
        await asyncio.sleep(60)


async def test_a_request_that_times_out_names_the_process() -> None:
    client = RpcClient("w1", Greeter("w1").ask)
    assert await client.ask("greet", "d1", within_secs=5) == "Hello, d1."
    with pytest.raises(RpcError, match=r"w1 did not answer hang in 0\.01 s"):
        await client.ask("hang", within_secs=0.01)


async def test_a_process_that_does_not_answer_is_left_out() -> None:
    one, other = (RpcClient(name, Greeter(name).ask) for name in ("w1", "w2"))
    deaf = RpcClient("w3", Greeter("w3").hang)  # type: ignore[arg-type] # fails at once
    assert await ask_each([one, deaf, other], "greet", "d1", within_secs=5) == ["Hello, d1."] * 2
