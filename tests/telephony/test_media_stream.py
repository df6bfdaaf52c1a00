from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moshi_phone.telephony import media_stream
from moshi_phone.telephony.media_stream import BadMessage, Connected, Dtmf, Mark, Media, Start, Stop, parse
from tests.support.phone import start_message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
EVENTS = st.sampled_from(["connected", "start", "media", "mark", "dtmf", "stop", "clear", ""])
NEARLY = st.builds(
    lambda event, body: {"event": event, event: body},
    EVENTS,
    JSON | st.fixed_dictionaries({"payload": st.text(max_size=40), "timestamp": JSON}),
)


def test_the_documented_messages() -> None:
    assert parse('{"event":"connected","protocol":"Call","version":"1.0.0"}') == Connected()
    payload = base64.b64encode(b"\xff\x00").decode()
    media = {"track": "inbound", "chunk": "1", "timestamp": "20", "payload": payload}
    assert parse(json.dumps({"event": "media", "media": media})) == Media(b"\xff\x00", 20, track="inbound")
    assert parse('{"event":"mark","mark":{"name":"m"}}') == Mark("m")
    assert parse('{"event":"dtmf","dtmf":{"track":"inbound_track","digit":"#"}}') == Dtmf("#")
    assert parse('{"event":"stop","stop":{"accountSid":"AC1","callSid":"CA1"}}') == Stop()
    start = parse(json.dumps(start_message(parameters={"token": "secret"})))
    assert isinstance(start, Start)
    assert (start.stream_sid, start.call_sid, start.account_sid) == ("MZ1", "CA1", "AC1")
    assert start.custom_parameters == {"token": "secret"}
    assert start.is_phone_audio
    assert "secret" not in repr(start)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\0", "expected text, got a binary message"),
        ("hello", "expected JSON, got something else"),
        ("[" * 100_000, "expected JSON, got something else"),
        ("[1]", "expected a JSON object, got list"),
        ("{}", "unknown event 'None'"),
        ('{"event":["media"]}', "unknown event"),
        ('{"event":"nonsense"}', "unknown event 'nonsense'"),
        ('{"event":"media"}', "expected media to be an object, got NoneType"),
        ('{"event":"media","media":{"payload":7}}', "expected payload to be text, got int"),
        ('{"event":"media","media":{"payload":"***"}}', "expected a base64 payload"),
        ('{"event":"media","media":{"payload":"é"}}', "expected a base64 payload"),
        ('{"event":"mark","mark":{}}', "expected name to be text, got NoneType"),
        ('{"event":"start","start":{"customParameters":[1]}}', "expected customParameters to be an object"),
        ('{"event":"start","start":{}}', "expected streamSid to be text"),
    ],
)
def test_invalid_messages_are_rejected(message: str | bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why.replace("[", r"\[")):
        parse(message)


@pytest.mark.parametrize("name", ["streamSid", "callSid", "accountSid"])
def test_half_a_surrogate_pair_is_rejected(name: str) -> None:
    """JSON can contain one, but UTF-8 cannot: ``/calls`` answered 500 as long as the call ran."""
    body = {"streamSid": "MZ1", "callSid": "CA1", "accountSid": "AC1", "mediaFormat": {}, name: "CA\ud800"}
    with pytest.raises(BadMessage, match=f"expected {name} to be text, got half a surrogate pair"):
        parse(json.dumps({"event": "start", "start": body}))


@given(st.text() | st.binary() | (JSON | NEARLY).map(json.dumps))
def test_no_other_exception_is_raised(message: str | bytes) -> None:
    try:
        event = parse(message)
    except BadMessage as bad:
        assert str(bad)  # noqa: PT017 - either way is right, but nothing else
    else:
        assert isinstance(event, media_stream.Event)


@pytest.mark.parametrize("said", ["20", 20])
def test_a_timestamp_may_be_a_number(said: object) -> None:
    event = parse(json.dumps({"event": "media", "media": {"payload": "", "timestamp": said}}))
    assert event == Media(b"", 20)


@pytest.mark.parametrize("said", [None, True, "-1", "1e3", "²", "9" * 5_000, {}])
def test_an_invalid_timestamp_is_ignored(said: object) -> None:
    event = parse(json.dumps({"event": "media", "media": {"payload": "", "timestamp": said}}))
    assert event == Media(b"", None)


def test_outgoing_messages_have_only_the_documented_fields() -> None:
    assert json.loads(media_stream.media("MZ1", b"\xff")) == {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": "/w=="},
    }
    assert json.loads(media_stream.mark("MZ1", "m")) == {
        "event": "mark",
        "streamSid": "MZ1",
        "mark": {"name": "m"},
    }
    assert json.loads(media_stream.clear("MZ1")) == {"event": "clear", "streamSid": "MZ1"}


@pytest.mark.parametrize(
    ("said", "is_it"),
    [
        ({}, True),
        ({"streamSid": "MZ1"}, True),
        ({"streamSid": "MZ2"}, False),
        ({"track": "inbound"}, True),
        ({"track": "outbound"}, False),
        ({"track": "inbound", "streamSid": "MZ2"}, False),
    ],
)
def test_the_caller_s_track_is_recognized(said: dict[str, str], is_it: bool) -> None:
    media = {"payload": "", **{key: value for key, value in said.items() if key == "track"}}
    event = parse(json.dumps({"event": "media", **said, "media": media}))
    assert isinstance(event, Media)
    assert event.is_from_caller("MZ1") is is_it
