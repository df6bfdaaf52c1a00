"""A call through examples/own_app.py, served by uvicorn as described in its docstring."""

from __future__ import annotations

import asyncio

import uvicorn

from examples import own_app
from tests.support.phone import Phone, serving_app

LOUD = bytes([0x10, 0x90] * 80)


async def test_a_call_in_a_user_s_own_app() -> None:
    async with serving_app(uvicorn.Config(own_app.app, log_level="warning")) as address:
        async with Phone.calling(address) as phone:
            await phone.say(LOUD, times=16)
            assert len(set(await phone.listen(frames=2))) > 50  # the parrot greets
            assert own_app.engine.running == 1
        async with asyncio.timeout(20):
            while own_app.engine.running:  # noqa: ASYNC110 - the call ends in the background
                await asyncio.sleep(0.01)
