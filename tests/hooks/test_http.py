from __future__ import annotations

import asyncio
import hashlib
import hmac

import pytest
from aiohttp import web

from moshi_phone.hooks.http import (
    MAX_ANSWER_BYTES,
    BadHookUrl,
    Hook,
    HookFailed,
    is_signed,
    parse_hook_url,
    sign,
)
from tests.fakes.hook import hook, says

NOW = 1_800_000_000


async def test_requests_are_signed_and_complete() -> None:
    async with hook(says('{"accept": true}')) as fake:
        answer = await Hook(fake.url, "whsec", clock=lambda: float(NOW)).post({"from": "Zürich 🐦"})
    assert answer == b'{"accept": true}'
    assert fake.told == [{"from": "Zürich 🐦"}]
    assert is_signed(fake.signatures[0] or "", fake.bodies[0], "whsec", NOW)


async def test_half_a_surrogate_pair_does_not_block_a_report() -> None:
    async with hook(says()) as fake:
        await Hook(fake.url).post({"call_sid": "CA\ud83d"})
    assert fake.told == [{"call_sid": "CA?"}]


async def test_without_a_secret_nothing_is_signed() -> None:
    async with hook(says(status=204)) as fake:
        assert await Hook(fake.url).post({}) == b""
    assert fake.signatures == [None]


async def test_a_hanging_hook_times_out() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with hook(hang) as fake:
        with pytest.raises(HookFailed, match=r"it does not answer in 0\.05 s") as failed:
            await Hook(fake.url, limit_secs=0.05).post({})
    assert not failed.value.answered


async def test_a_slow_response_times_out() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b" ")
            await asyncio.sleep(0.01)

    async with hook(drip) as fake:
        with pytest.raises(HookFailed, match="it does not answer in"):
            await Hook(fake.url, limit_secs=0.2).post({})


@pytest.mark.parametrize("status", [301, 307, 400, 404, 500])
async def test_only_2xx_is_accepted_and_redirects_are_not_followed(status: int) -> None:
    async with hook(says("no")) as elsewhere, hook(says(status=status, Location=elsewhere.url)) as fake:
        with pytest.raises(HookFailed, match=f"it answers {status}") as failed:
            await Hook(fake.url).post({"words": "secret"})
    assert elsewhere.bodies == []
    assert failed.value.answered
    assert "secret" not in str(failed.value)


async def test_a_response_of_ten_megabytes_is_cut_off() -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(10 * 1024):
            await answer.write(b"x" * 1024)
            sent += 1024
        return answer

    async with hook(flood) as fake:
        with pytest.raises(HookFailed, match=f"more than {MAX_ANSWER_BYTES} bytes"):
            await Hook(fake.url).post({})
    assert sent < 10 * 1024 * 1024


async def test_an_unreachable_hook() -> None:
    with pytest.raises(HookFailed, match=r"it cannot be asked \(ClientConnectorError\)"):
        await Hook("http://127.0.0.1:9/hook").post({})


@pytest.mark.parametrize("url", ["", "example.com", "ftp://example.com", "https://", "https://a.example/#x"])
def test_invalid_hook_urls_are_refused(url: str) -> None:
    with pytest.raises(BadHookUrl, match="--on-end: expected a URL such as https"):
        parse_hook_url(url, "--on-end")


def test_a_hook_s_url_and_secret_are_not_in_its_repr() -> None:
    assert "a.example" not in repr(Hook("https://a.example/?key=k", "whsec"))
    assert "whsec" not in repr(Hook("https://a.example", "whsec"))


BODY, SECRET = '{"from":"Zürich"}'.encode(), "whsec"


def test_a_signature_is_the_documented_one() -> None:
    mac = hmac.new(b"whsec", b"1800000000." + BODY, hashlib.sha256).hexdigest()
    assert sign(BODY, SECRET, NOW) == f"t=1800000000,v1={mac}"


def test_a_receiver_verifies_the_signature() -> None:
    header = sign(BODY, SECRET, NOW)
    assert is_signed(header, BODY, SECRET, NOW + 299)
    assert not is_signed(header, BODY, SECRET, NOW + 301), "replayed"
    assert not is_signed(header, BODY + b" ", SECRET, NOW)
    assert not is_signed(header, BODY, "another", NOW)
    assert not is_signed(header.replace("t=18", "t=19"), BODY, SECRET, NOW + 100_000_000)
    for nonsense in ("", "t=1", "v1=2", "t=x,v1=y", "=,=", header + ",", "t=1,v1=ü"):
        assert not is_signed(nonsense, BODY, SECRET, NOW)
