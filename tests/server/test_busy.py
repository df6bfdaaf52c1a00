"""A server with one session and one call: others are refused, and the call is not affected."""

from __future__ import annotations

import asyncio

import httpx
import numpy as np
from numpy.typing import NDArray
from twilio.request_validator import RequestValidator

from bot import run_call
from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.audio.g711 import SILENCE
from moshi_phone.conversation.live import Judge
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.app import create_app
from moshi_phone.testing.engine import FakeEngine
from tests.support.inline_executor import InlineExecutor
from tests.support.phone import start_message
from tests.support.simulated import SimulatedPhone, run_simulated

AUTH_TOKEN = "f" * 32
PUBLIC = "https://phone.example.com"
FIRST, SECOND = "CA" + "1" * 32, "CA" + "2" * 32


def talk(disturbed: bool) -> tuple[SimulatedPhone, NDArray[np.float32]]:
    """Talk for four seconds on a server with one session, with or without other callers meanwhile."""
    said = np.random.default_rng(1).normal(0, 0.1, 4 * 8000).astype(np.float32)
    engine = FakeEngine(capacity=1)
    line = ServerState(
        engine,
        auth=StreamAuth.for_account(AUTH_TOKEN, PublicAddress(PUBLIC)),
        judge=Judge(InlineExecutor()),  # a thread does not run in simulated time
    )
    app = create_app(line, run_call)

    def caller(call: str) -> SimulatedPhone:
        token = line.auth.tokens.mint(call, line.auth.clock())
        return SimulatedPhone(app, start_message(parameters={"token": token}, call_sid=call))

    async def disturb() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as http:
            form = {"CallSid": SECOND, "From": "+15551234567"}
            signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + "/twiml", form)
            answer = await http.post("/twiml", data=form, headers={"X-Twilio-Signature": signature})
            assert answer.text.endswith('<Response><Reject reason="busy" /></Response>')
        second = caller(SECOND)
        await second.talk(np.zeros(0, np.float32))
        assert second.closed is not None
        assert (second.closed["code"], second.closed["reason"]) == (1013, "All 1 sessions are taken.")
        assert (second.playback.heard(asyncio.get_running_loop().time()) == SILENCE).all()

    async def main() -> tuple[SimulatedPhone, NDArray[np.float32]]:
        await engine.start(lambda _: None)
        first = caller(FIRST)
        talking = asyncio.ensure_future(first.talk(said))
        await asyncio.sleep(1.5)
        if disturbed:
            await disturb()
        heard = await talking
        assert (engine.opened, line.refusals.by_cause) == (1, {"busy": 2} if disturbed else {})
        return first, heard

    return run_simulated(main())


def test_refused_callers_do_not_affect_a_running_call() -> None:
    alone, heard_alone = talk(disturbed=False)
    among_others, heard = talk(disturbed=True)
    assert not alone.playback.gaps
    assert not among_others.playback.gaps
    np.testing.assert_array_equal(heard, heard_alone)
    assert np.abs(heard).max() > 0.1
