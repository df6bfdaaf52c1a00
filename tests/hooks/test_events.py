from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from moshi_phone.hooks.events import EVENTS, SpokenLine, call_event
from moshi_phone.hooks.options import HookOptions
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.summary import call_report
from moshi_phone.telephony.incoming_call import IncomingCall
from moshi_phone.telephony.media_stream import Start

EXAMPLES = {
    example["event"]: example
    for example in map(
        json.loads, re.findall(r"```json\n(.*?)```", Path("docs/hooks.md").read_text(), re.DOTALL)
    )
    if "event" in example
}


def test_each_event_has_an_option() -> None:
    names = {"--" + field.name.replace("_", "-") for field in fields(HookOptions)}
    assert {option for option, _ in EVENTS.values()} <= names


@pytest.mark.parametrize("name", EVENTS)
def test_the_page_about_hooks_shows_each_field(name: str) -> None:
    _, payload = EVENTS[name]
    assert EXAMPLES.keys() == EVENTS.keys()
    assert EXAMPLES[name].keys() == payload.__annotations__.keys()
    if "words" in EXAMPLES[name]:
        assert EXAMPLES[name]["words"][0].keys() == SpokenLine.__annotations__.keys()


async def test_sent_events_have_the_declared_fields() -> None:
    incoming = IncomingCall("CA1", "+15551234567", "+15550001111", "inbound", {"FromCity": "ZÜRICH"})
    report = call_report(Call(Start("MZ1", "CA1", "AC1", {}, {})), "the caller hung up", "parrot")
    assert call_event(incoming).keys() == EVENTS["call"][1].__required_keys__
    assert report.keys() == EVENTS["end"][1].__required_keys__
