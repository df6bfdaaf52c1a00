"""cluster/cluster_auth.py and asking.py: what processes of a cluster show each other."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from moshi_phone.access.refusal import RefusalCause
from moshi_phone.access.tokens import (
    StreamTokens,
)
from moshi_phone.cluster.cluster_auth import ClusterAuth
from moshi_phone.cluster.rpc import RpcClient, RpcError, RpcServer
from tests.support.refused import refused

TOKEN = "f" * 32


class Clock:
    now_secs = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_secs


def test_a_request_is_let_in_once_in_time_and_where_it_was_meant_for() -> None:
    clock = Clock()
    here, there = (ClusterAuth(b"key", clock) for _ in range(2))
    token = here.request("w1")
    with refused(RefusalCause.TOKEN_OTHER_CALL):
        there.admit(token, "w2")
    here.check_reply(there.admit(token, "w1"), token)
    with refused(RefusalCause.TOKEN_REUSED):
        there.admit(token, "w1")
    old = here.request("w1")
    clock.now_secs += 61
    with refused(RefusalCause.TOKEN_EXPIRED):
        there.admit(old, "w1")


@pytest.mark.parametrize(
    "forged",
    [
        None,
        "",
        "w1.9999999999.00.xx",
        # Named, as it is never the same: a test's name should be.
        pytest.param(ClusterAuth(b"another").request("w1"), id="another's"),
    ],
)
def test_what_was_made_without_the_key_is_refused(forged: object) -> None:
    with pytest.raises(Exception, match="token"):
        ClusterAuth(b"key").admit(forged, "w1")


def test_a_stream_s_token_is_no_request() -> None:
    """Both keys come from one auth token; whoever has a caller's token must get nowhere with it."""
    with refused(RefusalCause.TOKEN_INVALID):
        ClusterAuth.from_auth_token(TOKEN).admit(
            StreamTokens.from_auth_token(TOKEN).mint("w1", 1_800_000_000.0), "w1"
        )


class Greeter(RpcServer):
    ASKED: ClassVar = frozenset(("greet", "hang"))

    async def greet(self, name: str) -> str:
        return f"Hello, {name}."

    async def hang(self) -> None:
        await asyncio.sleep(60)

    async def secret(self) -> str:
        return "not for you"


def asker(display_name: RpcServer, key: bytes = b"key") -> RpcClient:
    return RpcClient(display_name.name, ClusterAuth(key), display_name.ask)


async def test_asking() -> None:
    greeter = Greeter("w1", ClusterAuth(b"key"))
    assert await asker(greeter).ask("greet", "d1", within_secs=5) == "Hello, d1."
    with pytest.raises(RpcError, match=r"w1 did not answer hang in 0\.01 s"):
        await asker(greeter).ask("hang", within_secs=0.01)
    with pytest.raises(ValueError, match="expected one of greet, hang, got 'secret'"):
        await asker(greeter).ask("secret", within_secs=5)
    with pytest.raises(RpcError, match="not one of ours"):
        await asker(greeter, b"another").ask("greet", "d1", within_secs=5)


async def test_whoever_answers_in_another_s_place_is_not_believed() -> None:
    async def impostor(token: str, what: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
        return token, "Hello."

    with pytest.raises(RpcError, match="another call"):
        await RpcClient("w1", ClusterAuth(b"key"), impostor).ask("greet", "d1", within_secs=5)
