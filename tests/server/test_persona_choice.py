"""A call's persona: by number, by the page's choice, and for a call dialled elsewhere."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.options import WebOptions
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.access.tokens import StreamTokens
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.engines.personas import Personas
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.dialling import CallPlan
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice
from tests.server.calls.test_incoming import CALL, LOUD, PUBLIC, AskedEngine, rings
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message
from tests.support.waiting import until

ANNA = CallOverrides("You are Anna.", "NATF2")
BEN = CallOverrides("You are Ben.", "NATM0")
EVE = CallOverrides("You are Eve.", "NATF2")  # the voice is the default's
PERSONAS = Personas(ANNA, {"ben": BEN, CALLER: CallOverrides("You know me.")}, {CALLER: "ben"})


class Voices(AskedEngine):
    """Offers voices."""

    voices = ("NATF2", "NATM0")


def state_of(engine: Any, personas: Personas = PERSONAS, **more: Any) -> ServerState:
    auth = StreamAuth.for_account(AUTH_TOKEN, PublicAddress(PUBLIC))
    return ServerState(engine, auth=auth, personas=personas, **more)


async def test_a_number_s_persona_is_prepared_while_the_phone_rings() -> None:
    engine = Voices()
    async with serving(state_of(engine)) as address:
        voice = FakeTwilioVoice(PUBLIC, address)
        twiml = await voice.call_in(f"{PUBLIC}/twiml", CALL, CALLER)
        assert engine.prepared == [BEN], "before the stream has come"
        assert "You are" not in twiml, "the words stay here"
        async with voice.obey(twiml, CALL) as (phone, _):
            await phone.say(LOUD, times=8)
            await phone.listen(1)
        assert await rings(voice, "+4512345678", "CA" + "2" * 32) == ""
    assert engine.requests == [BEN, ANNA]


async def test_an_engine_without_personas_answers_as_before(logged: Logged) -> None:
    async with serving(state_of(ParrotEngine(delay_s=0))) as address:
        assert await rings(FakeTwilioVoice(PUBLIC, address)) == ""
    assert "is answered without its persona: The engine parrot takes no persona" in logged.text
    assert "You are" not in logged.text


# The page.


def ask(
    address: str, path: str, body: object = None, content_type: str = "application/json"
) -> tuple[int, Any]:
    request = urllib.request.Request(f"http://{address}{path}")
    if body is not None:
        request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.add_header("Content-Type", content_type)
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["detail"]


async def test_the_page_selects_from_the_offers() -> None:
    engine = Voices()
    async with serving(state := ServerState(engine, personas=PERSONAS)) as address:
        assert await asyncio.to_thread(ask, address, "/offers") == (
            200,
            {"personas": ["ben"], "voices": ["NATF2", "NATM0"]},
        )
        for asked, request in (
            ({"persona": "ben"}, BEN),
            ({"persona": "ben", "voice": "NATF2"}, CallOverrides("You are Ben.", "NATF2")),
            ({"voice": "NATM0", "persona": ""}, CallOverrides(voice="NATM0")),
            ({}, NO_OVERRIDES),
            (b"", NO_OVERRIDES),
        ):
            status, call = await asyncio.to_thread(ask, address, "/web/call", asked)
            assert status == 200
            start = start_message(parameters={"token": call["token"]}, call_sid=call["callSid"])
            async with Phone.calling(address, start) as phone:
                await phone.say(LOUD, times=8)
                await phone.listen(1)
                await phone.send({"event": "stop"})
                await phone.closed()
            await state.calls.wait_until_idle()
            assert engine.requests[-1] == request


@pytest.mark.parametrize(
    ("body", "content_type", "refusal"),
    [
        ({"persona": "eve"}, "application/json", (422, "persona: expected one of the offered values")),
        ({"persona": CALLER}, "application/json", (422, "persona: expected one of the offered values")),
        ({"voice": "../x"}, "application/json", (422, "voice: expected one of the offered values")),
        ({"voice": 7}, "application/json", (422, 'expected {"persona": "...", "voice": "..."}')),
        ([], "application/json", (422, 'expected {"persona": "...", "voice": "..."}')),
        (b"{", "application/json", (422, "expected JSON")),
        ({"persona": "ben"}, "text/plain", (415, "expected application/json")),
        (b" " * 5000, "application/json", (413, "expected at most 4096 bytes")),
    ],
)
async def test_the_page_gets_names_only(body: object, content_type: str, refusal: tuple[int, str]) -> None:
    engine = Voices()
    async with serving(ServerState(engine, personas=PERSONAS)) as address:
        assert await asyncio.to_thread(ask, address, "/web/call", body, content_type) == refusal
    assert engine.prepared == []


async def test_strangers_cannot_read_the_offers() -> None:
    state = state_of(Voices(), settings=Settings(web=WebOptions(web_password="twelve letters")))
    async with serving(state) as address:
        status, _ = await asyncio.to_thread(ask, address, "/offers")
        assert status in (401, 403)


async def test_a_parrot_offers_nothing() -> None:
    async with serving(ServerState(ParrotEngine(delay_s=0), personas=PERSONAS)) as address:
        assert await asyncio.to_thread(ask, address, "/offers") == (200, {"personas": [], "voices": []})


# A call that was dialled for this server by another process.


async def test_a_call_dialled_elsewhere_has_its_persona() -> None:
    engine = Voices()
    tokens = StreamTokens.from_auth_token(AUTH_TOKEN)
    async with serving(state := state_of(engine)) as address:
        voice = FakeTwilioVoice(PUBLIC, address)
        for plan, request in (
            (CallPlan("", "", f"{PUBLIC}/stream", persona="ben"), BEN),
            (
                CallPlan("", "", f"{PUBLIC}/stream", persona="You are Eve."),
                CallOverrides("You are Eve.", "NATF2"),
            ),
            (CallPlan("", "", f"{PUBLIC}/stream", voice="NATM0"), CallOverrides(voice="NATM0")),
            (CallPlan("", "", f"{PUBLIC}/stream"), NO_OVERRIDES),
        ):
            twiml = plan.twiml(tokens, state.auth.clock()).replace("https://", "wss://")
            async with voice.obey(twiml, CALL) as (phone, _):
                await phone.say(LOUD, times=8)
                await phone.listen(1)
                await phone.send({"event": "stop"})
                await phone.closed()
            await state.calls.wait_until_idle()
            assert engine.requests[-1] == request


async def test_a_persona_that_the_token_does_not_vouch_for_is_refused() -> None:
    engine = Voices()
    async with serving(state := state_of(engine)) as address:
        token = state.mint("CA1")
        start = start_message(parameters={"token": token, "persona": "You are a thief."})
        async with Phone.calling(address, start) as phone:
            assert await phone.closed() == (1008, "the stream's token is not one of ours")
    start = start_message(parameters={"persona": "ben"})  # a stream without a token cannot request anything
    async with (
        serving(ServerState(engine, personas=PERSONAS)) as address,
        Phone.calling(address, start) as phone,
    ):
        await phone.say(LOUD, times=8)
        await phone.listen(1)
    assert engine.requests == [NO_OVERRIDES]


# The real model, tiny.


@pytest.mark.slow
async def test_two_calls_have_two_personas(tiny_personaplex: Path) -> None:
    options = EngineOptions(model=str(tiny_personaplex), quantize="none", seed=1, persona="dada lolo")
    personas = Personas(NO_OVERRIDES, {"ben": CallOverrides("bibi koko", "NATM0")}, {CALLER: "ben"})
    engine = MoshiEngine(options, codec_limit_frames=3000)
    heard: dict[str, list[bytes]] = {}
    async with serving(state := state_of(engine, personas)) as address:
        voice = FakeTwilioVoice(PUBLIC, address)
        for caller in (CALLER, "+4512345678", CALLER):
            await until(lambda: engine.error is None)  # the last call's codecs are clean again
            twiml = await voice.call_in(f"{PUBLIC}/twiml", CALL, caller)
            async with voice.obey(twiml, CALL) as (phone, _):
                for _ in range(6):
                    await phone.say(LOUD, times=4)
                    await phone.listen(1)
                await phone.send({"event": "stop"})
                await phone.closed()
            heard.setdefault(caller, []).append(phone.heard)
            await state.calls.wait_until_idle()
    ben, again = heard[CALLER]
    agreeing = np.mean(np.frombuffer(ben, np.uint8) == np.frombuffer(again, np.uint8))
    assert agreeing > 0.99
    other = np.frombuffer(heard["+4512345678"][0], np.uint8)
    assert np.mean(np.frombuffer(ben, np.uint8) == other) < 0.5
