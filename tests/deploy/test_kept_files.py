"""The program as the services start it: files named by .env.example are in the service's state folder."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import pytest

from tests.deploy.test_names import DEPLOY, ROOT, unit
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi
from tests.support.program import program

LEFT_OUT = {
    "MOSHI_TUNNEL": "beside PUBLIC_URL there is none",
    "MOSHI_STREAM_URL": "for several servers",
    "MOSHI_SERVER": "servers that there are not here",
    "MOSHI_SERVER_TOKEN": "likewise",
    "MOSHI_SERVER_CA": "likewise",
    "MOSHI_PERSONAS": "a file that its owner writes",
    "MOSHI_ADMIN_PORT": "taken by another test",
}


def uncommented(twilio: FakeTwilioApi) -> dict[str, str]:
    """Return every line of .env.example, uncommented, with values for an owner's placeholders."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = [line[1:].split("=", 1) for line in lines if line.startswith("#") and line[1:2].isupper()]
    found = {name: value.strip('"') for name, value in pairs if name not in LEFT_OUT}
    return found | {
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_API_URL": twilio.url,
        "TWILIO_NUMBER": "+15005550006",
        "MOSHI_WEB_PASSWORD": "eight letters",
        "MOSHI_HOOK_SECRET": "whsec",
        "MOSHI_PORT": "0",
        "MOSHI_ON_END": "http://127.0.0.1:9/ended",
        "MOSHI_ON_CALL": "http://127.0.0.1:9/calls",
    }


@pytest.mark.slow
async def test_every_line_of_the_example_can_be_uncommented(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    """As systemd starts it: from the state's folder, with the program elsewhere."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    before = {path.name for path in ROOT.iterdir()} | {"__pycache__"}
    environment = uncommented(twilio) | {"HOME": "/nonexistent", "XDG_STATE_HOME": str(state)}
    async with program(environment=environment, folder=str(state)) as run:
        await run.says("rings here now")
        run.signal(signal.SIGTERM)
        assert await run.ends() == 0, run.said
    made = {path.name for path in state.iterdir()}
    assert {"recordings", "transcripts", "messages", "outbox", "calls.db"} <= made
    for name in ("recordings", "transcripts", "messages", "outbox"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o700
    assert {path.name for path in ROOT.iterdir()} <= before, "nothing is written beside the program"
    assert not twilio.number["voice_url"]


def test_the_services_start_it_in_their_state_folder() -> None:
    assert unit()["WorkingDirectory"] == "%S/moshi-phone"
    assert unit()["StateDirectory"] == "moshi-phone"
    assert unit()["ExecStart"].split()[1] == "/opt/moshi-phone/bot.py"
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert dockerfile.rindex("WORKDIR /data") > dockerfile.rindex("VOLUME /data")
    assert '["python", "/app/bot.py"]' in dockerfile
    assert "phone-data:/data" in (DEPLOY / "compose.yaml").read_text()
