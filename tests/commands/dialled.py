"""``bot.py dial`` as a separate process, with a stand-in for Twilio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from tests.fakes.twilio_api import FakeTwilioApi, Form, fake_twilio_api
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice
from tests.support.phone import Phone
from tests.support.program import Program, account, program

PUBLIC = "https://phone.example.com"
STREAM_URL = "wss://phone.example.com/stream"


@dataclass
class Dialled:
    """A call that was placed and has not been answered yet.

    Attributes:
        run: the command.
        twilio: the account that it was placed with.
        voice: Twilio's side of the call.
        sid: the call's SID.
        form: of the request that placed the call.
    """

    run: Program
    twilio: FakeTwilioApi
    voice: FakeTwilioVoice
    sid: str
    form: Form

    async def answered(self) -> AbstractAsyncContextManager[tuple[Phone, str | None]]:
        """Report that the call was answered, and open the stream of its TwiML."""
        self.twilio.calls[self.sid]["status"] = "in-progress"
        for status_url in self.form.get("StatusCallback", []):
            assert await self.voice.tell(status_url, self.sid, CallStatus="in-progress") == 204
        await self.run.says("in progress")
        return self.voice.obey(self.form["Twiml"][0], self.sid)

    @property
    def parameters(self) -> dict[str, str]:
        """The custom parameters of the stream in its TwiML."""
        stream = ET.fromstring(self.form["Twiml"][0])[0][0]  # noqa: S314 - our own command's
        return {each.attrib["name"]: each.attrib["value"] for each in stream}

    def updates(self) -> list[Form]:
        """The updates of the call that the account has received since."""
        return self.twilio.made("POST", f"Calls/{self.sid}.json")


@asynccontextmanager
async def dialled(
    *options: str, environment: Mapping[str, str] | None = None, elsewhere: str | None = None
) -> AsyncIterator[Dialled]:
    """Dial, and wait until the call is placed.

    Args:
        options: of the command.
        environment: in addition to the account's.
        elsewhere: the address on this machine of a server that answers at ``PUBLIC``, if not the command.
    """
    with fake_twilio_api() as twilio:
        twilio.progress = ["queued"]
        loop = asyncio.get_running_loop()
        placed: asyncio.Future[tuple[str, Form]] = loop.create_future()
        twilio.on_call = lambda sid, form: loop.call_soon_threadsafe(placed.set_result, (sid, form))
        where = ("--url", STREAM_URL) if elsewhere else ("--public-url", PUBLIC, "--port", "0")
        arguments = ("dial", CALLER, *where, *options)
        async with program(*arguments, environment={**account(twilio), **(environment or {})}) as run:
            local = elsewhere or address_of(await run.says("Answering calls at ws://"))
            await run.says("queued")
            sid, form = await placed
            yield Dialled(run, twilio, FakeTwilioVoice(PUBLIC, local), sid, form)


def address_of(line: str) -> str:
    """Parse the address in the line that says where a program listens."""
    return line.split("ws://")[1].split("/", maxsplit=1)[0]
