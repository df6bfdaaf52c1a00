"""A server with an account, real sockets, and an engine with scripted words of both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.engines.duplex import NO_OVERRIDES, CallerText, CallOverrides, DuplexStep, Unsupported
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.rest import TwilioApi
from moshi_phone.testing.engine import FakeEngine, FakeSession
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi
from tests.fakes.twilio_voice import FakeTwilioVoice
from tests.support.fake_sleep import Naps
from tests.support.phone import Phone, serving

PUBLIC = "https://phone.example.com"
CALL = "CA" + "0" * 32
OTHER = "CA" + "1" * 32
PERSON = "+15559990000"
LOUD = bytes([0x10, 0x90] * 80)
HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
TO_THE_PERSON = (
    f'{HEAD}<Response><Dial action="{PUBLIC}/transferred" timeout="20">'
    f"<Number>{PERSON}</Number></Dial></Response>"
)


class TalkingSession(FakeSession):
    """Says given words, and hears the script's words for each step."""

    def __init__(self, engine: TalkingEngine) -> None:
        super().__init__(engine)
        self._script = engine.script
        self._bot_script = engine.bot_script
        self.spoken = engine.spoken

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        async for step in super().outputs():
            words = self._script.get(self.steps, "")
            text = self._bot_script.get(self.steps, "")
            yield DuplexStep(step.pcm, text, caller_text=(CallerText(words, 0.1),) if words else ())

    def say(self, text: str) -> None:
        if self.spoken is None:
            raise Unsupported("The fake engine cannot say given words.")
        self.spoken.append(text)

    async def said(self) -> None:
        await asyncio.sleep(0.05)


class TalkingEngine(FakeEngine):
    """Creates such sessions."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type]
        self.script: dict[int, str] = {}
        self.bot_script: dict[int, str] = {}
        self.spoken: list[str] | None = []

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> TalkingSession:
        super().open_session(request)
        self.sessions[-1] = session = TalkingSession(self)
        return session


class Line:
    """A server with an account, and Twilio in front of it."""

    def __init__(self, twilio: FakeTwilioApi, engine: TalkingEngine, **options: object) -> None:
        for sid in (CALL, OTHER):
            twilio.put_in_progress(sid)
        self.twilio = twilio
        self.state = ServerState(
            engine,
            Settings(calls=CallOptions(transfer_ring_secs=20, **options)),  # type: ignore[arg-type]
            rest=TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, sleep=Naps()),
            auth=StreamAuth.for_account(AUTH_TOKEN, PublicAddress(PUBLIC)),
        )
        self.voice = FakeTwilioVoice(PUBLIC, "")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Line]:
        async with serving(self.state) as address:
            self.voice = FakeTwilioVoice(PUBLIC, address)
            yield self

    @asynccontextmanager
    async def call(self, call_sid: str = CALL, twiml: str | None = None) -> AsyncIterator[Phone]:
        """Call in, and talk for a moment."""
        twiml = twiml or await self.voice.call_in(f"{PUBLIC}/twiml", call_sid)
        async with self.voice.obey(twiml, call_sid) as (phone, _):
            yield phone

    def updates(self, call_sid: str = CALL) -> list[dict[str, list[str]]]:
        """The updates of a call that the account has received."""
        return self.twilio.made("POST", f"Calls/{call_sid}.json")

    async def transferred(self, how: str) -> str:
        """Report the result of a transfer; return the TwiML."""
        form = {"AccountSid": ACCOUNT_SID, "CallSid": CALL, "DialCallStatus": how}
        status, twiml = await self.voice.post(f"{PUBLIC}/transferred", form)
        assert status == 200
        return twiml


async def talk(phone: Phone, frames: int = 2) -> None:
    await phone.say(LOUD, times=4 * frames)
    await phone.listen(frames)


async def press(phone: Phone, digit: str) -> None:
    await phone.send(
        {"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": digit}}
    )
