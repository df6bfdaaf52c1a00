from __future__ import annotations

import pytest
from fastapi import HTTPException

from moshi_phone.engines.duplex import NO_REQUEST, CallRequest
from moshi_phone.engines.personas import Personas
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.offers import chosen, offers
from tests.support.fake_engines import FakeEngine

JSON = "application/json; charset=utf-8"


class Versatile(FakeEngine):
    """Takes personas and two voices."""

    takes = frozenset({"persona", "voice"})
    voices = ("NATF2", "NATM0")

    def prepare(self, request: CallRequest) -> None:
        self.prepared = request


ANNA = CallRequest(persona="You are Anna.", voice="NATM0")
STATE = ServerState(Versatile(), personas=Personas(sections={"anna": ANNA}))


def test_an_engine_that_takes_nothing_offers_nothing() -> None:
    assert offers(ServerState(FakeEngine())) == {"personas": [], "voices": []}


def test_the_words_of_a_persona_stay_here() -> None:
    assert offers(STATE) == {"personas": ["anna"], "voices": ["NATF2", "NATM0"]}


def test_a_voice_of_its_own_goes_before_the_persona_s() -> None:
    assert chosen(STATE, b" ", "") == NO_REQUEST
    assert chosen(STATE, b'{"persona": "anna"}', JSON) == ANNA
    request = chosen(STATE, b'{"persona": "anna", "voice": "NATF2"}', JSON)
    assert request == CallRequest(persona="You are Anna.", voice="NATF2")
    assert isinstance(STATE.engine, Versatile)
    assert STATE.engine.prepared == request


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{", JSON, 422),
        (b"[]", JSON, 422),
        (b'{"persona": 1}', JSON, 422),
        (b'{"persona": "You are a thief."}', JSON, 422),
        (b'{"voice": "../x"}', JSON, 422),
    ],
)
def test_nothing_but_what_is_offered(body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(HTTPException) as refused:
        chosen(STATE, body, content_type)
    assert refused.value.status_code == status
