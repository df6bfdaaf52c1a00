"""Authentication of streams over real sockets: refusals, and their log lines."""

from __future__ import annotations

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.tokens import StreamTokens
from moshi_phone.server.calls.state import ServerState
from moshi_phone.testing.engine import FakeEngine
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message

AUTH_TOKEN = "f" * 32
CALL, OTHER = "CA" + "1" * 32, "CA" + "2" * 32
LOUD = bytes([0x10, 0x90] * 80)  # silence is taken out of a line that is ahead of its time
NOW = 1_800_000_000.0


def minted(kind: str) -> str:
    """Create the token of a stream that is refused."""
    tokens = StreamTokens.from_auth_token(AUTH_TOKEN)
    return {
        "missing": "",
        "expired": tokens.mint(CALL, NOW - 61),
        "forged": tokens.mint(CALL, NOW)[:-1] + "!",
        "another key": StreamTokens.from_auth_token("0" * 32).mint(CALL, NOW),
        "another call": tokens.mint(OTHER, NOW),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "cause", "why"),
    [
        ("missing", "token_missing", "the stream shows no token"),
        ("expired", "token_expired", "the stream's token expired 1 s ago"),
        ("forged", "token_invalid", "the stream's token is not one of ours"),
        ("another key", "token_invalid", "the stream's token is not one of ours"),
        ("another call", "token_other_call", "the stream's token was made for another call"),
    ],
)
async def test_a_stream_without_a_valid_token_is_refused(
    kind: str, cause: str, why: str, logged: Logged
) -> None:
    engine, token = FakeEngine(), minted(kind)
    line = ServerState(engine, auth=StreamAuth.for_account(AUTH_TOKEN))
    line.auth.clock = lambda: NOW
    start = start_message(parameters={"token": token} if token else {}, call_sid=CALL)
    async with serving(line) as address, Phone.calling(address, start) as phone:
        assert await phone.closed() == (1008, why)
    assert engine.opened == 0
    assert line.refusals.by_cause == {cause: 1}
    assert f"Refused a stream (cause {cause}, from 127.0.0.1): {why}" in logged.text
    assert not any(part in logged.text for part in token.split(".") if len(part) > 11)


async def test_a_used_token_is_refused(logged: Logged) -> None:
    engine = FakeEngine()
    line = ServerState(engine, auth=StreamAuth.for_account(AUTH_TOKEN))
    token = line.auth.tokens.mint(CALL, line.auth.clock())
    start = start_message(parameters={"token": token}, call_sid=CALL)
    async with serving(line) as address:
        async with Phone.calling(address, start) as phone:
            await phone.say(LOUD, times=4)
            await phone.listen(1)
            async with Phone.calling(address, start) as second:
                assert await second.closed() == (1008, "the stream's token has been used before")
            await phone.say(LOUD, times=4)
            await phone.listen(1)
        await line.calls.wait_until_idle()
    assert engine.opened == 1
    assert token not in logged.text


async def test_a_proxied_stream_without_a_token_is_refused() -> None:
    """A tunnel that a user opened connects from loopback, but names its client."""
    engine = FakeEngine()
    async with serving(ServerState(engine)) as address:
        headers = {"X-Forwarded-For": "203.0.113.7"}
        async with connect(f"ws://{address}/stream", additional_headers=headers) as socket:
            phone = Phone(socket)
            await phone.send(start_message())
            code, why = await phone.closed()
    assert (code, "only this machine may open streams" in why) == (1008, True)
    assert engine.opened == 0


async def test_a_web_page_on_this_machine_is_refused() -> None:
    engine = FakeEngine()
    page = Origin("http://evil.example.com")
    async with (
        serving(ServerState(engine)) as address,
        connect(f"ws://{address}/stream", origin=page) as socket,
    ):
        phone = Phone(socket)
        await phone.send(start_message())
        assert (await phone.closed())[0] == 1008
    assert engine.opened == 0
