from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.hooks.http import Hook, HookFailed
from moshi_phone.hooks.on_call import HookAnswer, Instead, ask, read_answer
from moshi_phone.telephony.incoming_call import IncomingCall
from tests.fakes.hook import hook, says

CALL = IncomingCall("CA1", "+15551234567", "+15550001111", parameters={"FromCity": "ZÜRICH"})


async def test_the_hook_gets_the_caller_and_selects_the_persona() -> None:
    answer = {
        "accept": True,
        "persona": "You are Anna.",
        "voice": "NATF2",
        "greeting": "Hello, Zürich.",
        "temperature": 0.5,
        "transfer_to": "+1 555 987 6543",
    }
    async with hook(says(json.dumps(answer))) as fake:
        said = await ask(Hook(fake.url), CALL)
    assert fake.told == [
        {
            "event": "call",
            "call_sid": "CA1",
            "from": "+15551234567",
            "to": "+15550001111",
            "direction": "inbound",
            "parameters": {"FromCity": "ZÜRICH"},
        }
    ]
    assert said == HookAnswer(
        True, CallOverrides("You are Anna.", "NATF2", "Hello, Zürich.", 0.5), "+15559876543"
    )


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b'{"accept": true}', b'{"persona": null}'])
def test_an_empty_answer_accepts(body: bytes) -> None:
    assert read_answer(body) == HookAnswer()


def test_a_refusal_may_name_an_alternative() -> None:
    assert read_answer(b'{"accept": false}') == HookAnswer(False)
    for said, instead in (
        ({"busy": True}, Instead()),
        ({"say": "We moved."}, Instead(say="We moved.")),
        ({"transfer_to": "+1 555 987 6543"}, Instead(transfer_to="+15559876543")),
        ({"message": "Speak."}, Instead(message="Speak.")),
    ):
        assert read_answer(json.dumps({"accept": False, "instead": said}).encode()).instead == instead


@pytest.mark.parametrize(
    "answer",
    [
        {"accept": True, "instead": {"busy": True}},
        *(
            {"accept": False, "instead": one}
            for one in (
                "busy",
                {},
                {"busy": False},
                {"say": ""},
                {"say": 1},
                {"say": "x" * 1001},
                {"sing": "x"},
            )
        ),
        {"accept": False, "instead": {"busy": True, "say": "x"}},
        {"accept": False, "instead": {"transfer_to": "911"}},
    ],
)
def test_an_invalid_alternative_is_a_failure(answer: dict[str, object]) -> None:
    with pytest.raises(HookFailed, match=r"^expected [\w ]*instead"):
        read_answer(json.dumps(answer).encode())


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("nonsense", "expected JSON, got something else"),
        ("[" * 100_000, "expected JSON, got something else"),
        ("[]", "expected a JSON object, got list"),
        ('{"acept": false}', "got 'acept'"),
        ('{"accept": "no"}', "expected accept to be true or false, got str"),
        ('{"persona": 5}', "expected persona to be text, got int"),
        ('{"persona": "\\ud800"}', "expected persona to be text, got half a surrogate pair"),
        (json.dumps({"greeting": "x" * 2001}), "expected at most 2000 characters of greeting, got 2001"),
        ('{"temperature": 3}', "expected temperature to be a number from 0 to 2"),
        ('{"temperature": NaN}', "expected temperature to be a number from 0 to 2"),
        ('{"temperature": true}', "expected temperature to be a number from 0 to 2"),
        ('{"transfer_to": "911; drop"}', "expected transfer_to to be a number"),
        ('{"transfer_to": 911}', "expected transfer_to to be a number"),
    ],
)
def test_invalid_answers_are_reported_in_one_sentence(said: str, sentence: str) -> None:
    with pytest.raises(HookFailed) as failed:
        read_answer(said.encode())
    assert sentence in str(failed.value)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.binary(max_size=200) | st.builds(lambda value: json.dumps(value).encode(), json_values))
def test_any_body_is_an_answer_or_a_failure(body: bytes) -> None:
    with contextlib.suppress(HookFailed):
        read_answer(body)


def test_no_number_is_in_a_repr() -> None:
    assert "555" not in repr(CALL)
    assert "555" not in repr(HookAnswer(transfer_to="+15559876543"))
