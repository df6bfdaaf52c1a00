"""``--redact digits`` in a whole call: neither files nor the ``--on-end`` report contain a spoken number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from moshi_phone.hooks.http import Hook
from moshi_phone.hooks.outbox import Outbox
from moshi_phone.records.options import TapOptions
from tests.fakes.hook import hook, says
from tests.fakes.twilio_api import FakeTwilioApi
from tests.server.talking_line import LOUD, Line, TalkingEngine
from tests.support.logs import Logged


async def test_a_card_number_is_stored_nowhere(twilio: FakeTwilioApi, tmp_path: Path, logged: Logged) -> None:
    engine = TalkingEngine()
    engine.script = {2: " My card is 4111 1111", 3: " 1111 1234,", 4: " three four five."}
    engine.bot_script = {6: " Your code is 99", 7: "17."}
    async with hook(says()) as told:
        made = Line(twilio, engine)
        made.state.settings = replace(
            made.state.settings, taps=TapOptions(transcripts=tmp_path, redact="digits")
        )
        made.state.outbox = Outbox(Hook(told.url), tmp_path / "outbox")
        made.state.outbox.start()
        async with made.serving() as line, line.call() as phone:
            await phone.say(LOUD, times=40)
            await phone.listen(9)
            await phone.send({"event": "stop"})
            await phone.closed()
            await line.state.calls.wait_until_idle()
        await made.state.outbox.stop()
    (report,) = told.told
    in_report = str([line["text"] for line in report["words"]])
    for kept in (in_report, text_of(tmp_path)):
        assert "My card is #### #### #### ####, # # #." in kept
        assert "Your code is ####." in kept
    assert report["files"].keys() == {"transcript"}
    assert "4111" not in logged.text


def text_of(folder: Path) -> str:
    """Return the content of all files of a call."""
    return "".join(path.read_text() for path in sorted(folder.glob("*.*")))
