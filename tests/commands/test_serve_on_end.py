"""``--on-end`` of the program itself: a hook that is unavailable at first, and across a restart."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from aiohttp import web

from moshi_phone.hooks.http import is_signed
from tests.commands.dialled import address_of
from tests.fakes.hook import hook
from tests.support.phone import Phone, start_message
from tests.support.program import program
from tests.support.waiting import until

LOUD = bytes([0x10, 0x90] * 80)
CALL = "CA" + "7" * 32


@pytest.mark.slow
async def test_no_report_is_lost_while_the_hook_is_down(tmp_path: Path) -> None:
    is_down, outbox = True, tmp_path / "outbox"

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=503 if is_down else 204)

    async with hook(answer) as told:
        arguments = (
            "--engine",
            "parrot",
            "--port",
            "0",
            "--on-end",
            told.url,
            "--on-end-folder",
            str(outbox),
        )
        environment = {"MOSHI_HOOK_SECRET": "whsec"}
        async with program(*arguments, environment=environment) as run:
            address = address_of(await run.says("Answering calls at ws://"))
            async with Phone.calling(address, start_message(call_sid=CALL)) as phone:
                await phone.say(LOUD, times=8)
                await phone.listen(2)
                await phone.send({"event": "stop"})
                await phone.closed()
            await until(lambda: len(told.bodies) == 2)  # sent again after a second
            run.signal(signal.SIGTERM)
            assert await run.ends() == 0
            assert "did not accept" in run.said
            assert "it answers 503" in run.said
            assert f"Undelivered --on-end reports in {outbox}: 1" in run.said
        (waiting,) = files(outbox)
        assert waiting.read_bytes().count(CALL.encode()) == 1

        is_down = False
        async with program(*arguments, environment=environment) as run:
            await run.says("Answering calls at ws://")
            await until(lambda: files(outbox) == [])
            run.signal(signal.SIGTERM)
            assert await run.ends() == 0
    assert [report["call_sid"] for report in told.told] == [CALL] * len(told.bodies)
    assert len({report["id"] for report in told.told}) == 1
    assert told.told[-1]["reason"] == "the caller hung up"
    unix_s = int(time.time())
    for body, signature in zip(told.bodies, told.signatures, strict=True):
        assert is_signed(signature or "", body, "whsec", unix_s)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())
