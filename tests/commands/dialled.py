"""``bot.py dial`` as a process of its own, with a stand-in for Twilio on its other side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from tests.fakes.twilio_api import FakeTwilioApi, Form, fake_twilio_api
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice
from tests.phone import Phone
from tests.program import Program, account, program

PUBLIC = "https://phone.example.com"


@dataclass
class Dialled:
    """A call that was placed and has not been answered yet.

    Attributes:
        run: the command.
        twilio: the account that it was placed with.
        voice: Twilio's side of the call.
        sid: the call's.
        form: what the account was asked for.
    """

    run: Program
    twilio: FakeTwilioApi
    voice: FakeTwilioVoice
    sid: str
    form: Form

    async def answered(self) -> AbstractAsyncContextManager[tuple[Phone, str | None]]:
        """Say that somebody has answered, and open the stream, as the call's TwiML has it."""
        self.twilio.calls[self.sid]["status"] = "in-progress"
        (status_url,) = self.form["StatusCallback"]
        assert await self.voice.tell(status_url, self.sid, CallStatus="in-progress") == 204
        await self.run.says("in progress")
        return self.voice.obey(self.form["Twiml"][0], self.sid)

    def updates(self) -> list[Form]:
        """What the account was told to do with the call since."""
        return self.twilio.made("POST", f"Calls/{self.sid}.json")


@asynccontextmanager
async def dialled(*options: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Dialled]:
    """Dial, and wait until the call is placed."""
    with fake_twilio_api() as twilio:
        twilio.progress = ["queued"]
        loop = asyncio.get_running_loop()
        placed: asyncio.Future[tuple[str, Form]] = loop.create_future()
        twilio.on_call = lambda sid, form: loop.call_soon_threadsafe(placed.set_result, (sid, form))
        arguments = ("dial", CALLER, "--public-url", PUBLIC, "--port", "0", *options)
        async with program(*arguments, environment={**account(twilio), **(environment or {})}) as run:
            local = (await run.says("Answering calls at ws://")).split("ws://")[1].split("/")[0]
            await run.says("queued")
            sid, form = await placed
            yield Dialled(run, twilio, FakeTwilioVoice(PUBLIC, local), sid, form)
