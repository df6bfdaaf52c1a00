"""Dead sockets that were never closed; ``tests/server/test_hang_up.py`` has calls without media."""

from __future__ import annotations

import pytest

from moshi_phone.server.calls import media_watch
from tests.fakes.twilio_api import FakeTwilioApi
from tests.server.calls.test_next_step import ring
from tests.server.talking_line import CALL, Line, TalkingEngine, talk


async def test_a_dead_socket_is_given_up(twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_watch, "STILL_SECS", 0.2)
    async with Line(twilio, TalkingEngine()).serving() as line:
        twiml = await ring(line)
        async with line.call(twiml=twiml) as phone:
            await talk(phone)
            (call,) = line.state.calls.running
            assert await phone.closed() == (1012, "no media came for 0.2 s")
            async with line.call(twiml=await line.voice.after(twiml, CALL)) as newer:
                await talk(newer)
                assert line.state.calls.running == {call}
