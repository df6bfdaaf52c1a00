"""telephony/number_routing.py: a number is routed here for a while, and restored afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moshi_phone.telephony.number_routing import VoiceWebhookOverride, put_back_left_numbers
from moshi_phone.telephony.rest import TwilioApi, VoiceSettings
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.saved_numbers import SavedNumbers
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, NUMBER_SID, FakeTwilioApi
from tests.support.fake_sleep import Naps

OURS = "https://fast-red-fox-runs.trycloudflare.com/twiml"
NEXT = "https://slow-blue-whale-swims.trycloudflare.com/twiml"
BEFORE = "https://old.example.com/voice"
PATH = f"IncomingPhoneNumbers/{NUMBER_SID}.json"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def pointer(twilio: FakeTwilioApi, said: list[str]) -> VoiceWebhookOverride:
    twilio.number.update(voice_url=BEFORE, voice_method="GET")
    return VoiceWebhookOverride(TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, Naps()), NUMBER, said.append)


async def test_a_number_is_set_and_restored(
    pointer: VoiceWebhookOverride, twilio: FakeTwilioApi, said: list[str]
) -> None:
    await pointer.point(OURS)
    assert (twilio.number["voice_url"], twilio.number["voice_method"]) == (OURS, "POST")
    await pointer.restore()
    assert (twilio.number["voice_url"], twilio.number["voice_method"]) == (BEFORE, "GET")
    assert said == [
        "+…006 rings here now; before, it went to https://old.example.com/voice.",
        "+…006 goes to https://old.example.com/voice again.",
    ]
    assert twilio.made("POST", PATH) == [
        {"VoiceUrl": [OURS], "VoiceMethod": ["POST"], "VoiceApplicationSid": [""]},
        {"VoiceUrl": [BEFORE], "VoiceMethod": ["GET"], "VoiceApplicationSid": [""]},
    ]
    await pointer.restore()
    assert len(twilio.made("POST", PATH)) == 2


async def test_a_reopened_tunnel(
    pointer: VoiceWebhookOverride, twilio: FakeTwilioApi, said: list[str]
) -> None:
    await pointer.point(OURS)
    await pointer.point(NEXT)
    assert twilio.number["voice_url"] == NEXT
    await pointer.restore()
    assert twilio.number["voice_url"] == BEFORE
    await pointer.point(NEXT)  # the tunnel stays open while the last calls finish
    assert twilio.number["voice_url"] == BEFORE


async def test_a_number_without_a_previous_url(
    pointer: VoiceWebhookOverride, twilio: FakeTwilioApi, said: list[str]
) -> None:
    twilio.number.update(voice_url=None)
    await pointer.point(OURS)
    await pointer.restore()
    assert twilio.number["voice_url"] == ""
    assert "before, it went to nowhere." in said[0]


async def test_a_number_with_a_twiml_application(
    pointer: VoiceWebhookOverride, twilio: FakeTwilioApi, said: list[str]
) -> None:
    """With one, Twilio ignores the voice URL."""
    twilio.number.update(voice_application_sid="AP1")
    await pointer.point(OURS)
    assert twilio.number["voice_application_sid"] == ""
    await pointer.restore()
    assert (twilio.number["voice_application_sid"], twilio.number["voice_url"]) == ("AP1", BEFORE)
    assert said[-1] == "+…006 goes to AP1 again."


async def test_a_number_of_a_sip_trunk(pointer: VoiceWebhookOverride, twilio: FakeTwilioApi) -> None:
    twilio.number.update(trunk_sid="TK1")
    with pytest.raises(TwilioError, match=r"\+…006 belongs to a SIP trunk, .*: take it out of the trunk"):
        await pointer.point(OURS)
    assert twilio.made("POST", PATH) == []


async def test_a_number_that_already_rings_here(
    pointer: VoiceWebhookOverride, twilio: FakeTwilioApi, said: list[str]
) -> None:
    twilio.number.update(voice_url=OURS, voice_method="POST")
    await pointer.point(OURS)
    await pointer.restore()
    assert said == ["+…006 rings here already."]
    assert twilio.made("POST", PATH) == []


async def test_a_number_changed_by_somebody_else_is_not_restored(
    pointer: VoiceWebhookOverride, twilio: FakeTwilioApi, said: list[str]
) -> None:
    await pointer.point(OURS)
    twilio.number.update(voice_url="https://new.example.com")
    await pointer.restore()
    assert twilio.number["voice_url"] == "https://new.example.com"
    assert said[-1] == "+…006 was changed by somebody else, and stays as it is."


async def test_a_failed_restore_is_reported(pointer: VoiceWebhookOverride, twilio: FakeTwilioApi) -> None:
    await pointer.point(OURS)
    twilio.fail(500, times=100)
    with pytest.raises(
        TwilioError,
        match=r"still rings here; the next start restores it, or set it to https://old\S+ by hand \(Twi",
    ):
        await pointer.restore()


async def test_a_stop_while_the_number_is_being_set(twilio: FakeTwilioApi, said: list[str]) -> None:
    asked, answers = asyncio.Event(), asyncio.Event()

    class SlowApi(TwilioApi):
        async def set_voice(self, sid: str, voice: VoiceSettings) -> None:
            asked.set()
            await answers.wait()
            await super().set_voice(sid, voice)

    twilio.number.update(voice_url=BEFORE)
    pointer = VoiceWebhookOverride(SlowApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url), NUMBER, said.append)
    pointing = asyncio.ensure_future(pointer.point(OURS))
    await asked.wait()
    pointing.cancel()
    putting = asyncio.ensure_future(pointer.restore())
    answers.set()
    await putting
    assert [form["VoiceUrl"] for form in twilio.made("POST", PATH)] == [[OURS], [BEFORE]]


async def test_a_number_that_could_not_be_set(
    pointer: VoiceWebhookOverride, twilio: FakeTwilioApi, said: list[str]
) -> None:
    twilio.fail(500, times=5, only="POST")
    with pytest.raises(TwilioError):
        await pointer.point(OURS)
    await pointer.restore()
    assert said == []
    assert twilio.number["voice_url"] == BEFORE


async def test_a_number_of_another_account(twilio: FakeTwilioApi, said: list[str]) -> None:
    pointer = VoiceWebhookOverride(
        TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url), "+15551234567", said.append
    )
    with pytest.raises(TwilioError, match="the Twilio account has no number that ends in 567"):
        await pointer.point(OURS)
    await pointer.restore()


class Runs:
    """Successive runs of the program; ``crash`` ends one like SIGKILL: nothing is restored."""

    def __init__(self, twilio: FakeTwilioApi, folder: Path, said: list[str]) -> None:
        self.api = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, Naps())
        self.notes = SavedNumbers(folder)
        self.said = said

    def start(self) -> VoiceWebhookOverride:
        return VoiceWebhookOverride(self.api, NUMBER, self.said.append, self.notes)

    def crash(self, pointer: VoiceWebhookOverride) -> None:
        assert pointer._lock is not None
        pointer._lock.release()


@pytest.fixture
def runs(twilio: FakeTwilioApi, tmp_path: Path, said: list[str]) -> Runs:
    twilio.number.update(voice_url=BEFORE, voice_method="GET")
    return Runs(twilio, tmp_path / "numbers", said)


async def test_after_a_crash_the_next_run_restores_the_original_url(
    runs: Runs, twilio: FakeTwilioApi, said: list[str]
) -> None:
    for url in (OURS, NEXT):
        crashed = runs.start()
        await crashed.point(url)
        assert crashed.rings_here
        runs.crash(crashed)
    last = runs.start()
    await last.point("https://third.trycloudflare.com/twiml")
    assert said[-2:] == [
        "+…006 was not put back by an earlier run; this one will.",
        f"+…006 rings here now; before, it went to {BEFORE}.",
    ]
    await last.restore()
    assert (twilio.number["voice_url"], twilio.number["voice_method"]) == (BEFORE, "GET")
    assert not last.rings_here
    assert runs.notes.of_account(ACCOUNT_SID) == []
    again = runs.start()
    await again.point(OURS)
    await again.restore()
    assert said[-1] == f"+…006 goes to {BEFORE} again."


async def test_after_a_crash_with_the_same_public_url(runs: Runs, twilio: FakeTwilioApi) -> None:
    crashed = runs.start()
    await crashed.point(OURS)
    runs.crash(crashed)
    second = runs.start()
    await second.point(OURS)
    await second.restore()
    assert twilio.number["voice_url"] == BEFORE


async def test_after_a_crash_before_the_number_was_changed(runs: Runs, twilio: FakeTwilioApi) -> None:
    twilio.fail(500, times=5, only="POST")
    crashed = runs.start()
    with pytest.raises(TwilioError):
        await crashed.point(OURS)
    runs.crash(crashed)
    await put_back_left_numbers(runs.api, runs.said.append, runs.notes)
    assert twilio.number["voice_url"] == BEFORE
    assert runs.notes.of_account(ACCOUNT_SID) == []


async def test_after_a_crash_somebody_else_changed_it(runs: Runs, twilio: FakeTwilioApi) -> None:
    crashed = runs.start()
    await crashed.point(OURS)
    runs.crash(crashed)
    twilio.number.update(voice_url="https://new.example.com", voice_method="POST")
    second = runs.start()
    await second.point(NEXT)
    await second.restore()
    assert twilio.number["voice_url"] == "https://new.example.com"


async def test_after_a_crash_a_run_without_the_number_restores_it(
    runs: Runs, twilio: FakeTwilioApi, said: list[str]
) -> None:
    crashed = runs.start()
    await crashed.point(OURS)
    await put_back_left_numbers(runs.api, said.append, runs.notes)
    assert twilio.number["voice_url"] == OURS, "its program is running"
    runs.crash(crashed)
    twilio.fail(500, times=5)
    await put_back_left_numbers(runs.api, said.append, runs.notes)
    assert "the next start restores it" in said[-1]
    twilio.failures.clear()
    await put_back_left_numbers(runs.api, said.append, runs.notes)
    assert twilio.number["voice_url"] == BEFORE
    assert runs.notes.of_account(ACCOUNT_SID) == []


async def test_two_runs_at_once(runs: Runs, twilio: FakeTwilioApi) -> None:
    first, second = runs.start(), runs.start()
    await first.point(OURS)
    with pytest.raises(
        TwilioError, match=r"another run of this program on this machine \(process \d+\): stop"
    ):
        await second.point(NEXT)
    await second.restore()
    assert twilio.number["voice_url"] == OURS
    await first.restore()
    assert twilio.number["voice_url"] == BEFORE


async def test_after_a_failed_restore_the_next_run_restores_it(runs: Runs, twilio: FakeTwilioApi) -> None:
    first = runs.start()
    await first.point(OURS)
    twilio.fail(500, times=100)
    with pytest.raises(TwilioError):
        await first.restore()
    assert first.rings_here
    await first.restore()  # once is enough
    twilio.failures.clear()
    second = runs.start()
    await second.point(NEXT)
    await second.restore()
    assert twilio.number["voice_url"] == BEFORE


async def test_without_a_state_folder_a_number_is_still_restored(
    twilio: FakeTwilioApi, tmp_path: Path, said: list[str]
) -> None:
    (tmp_path / "file").touch()
    twilio.number.update(voice_url=BEFORE)
    pointer = Runs(twilio, tmp_path / "file" / "numbers", said).start()
    await pointer.point(OURS)
    assert "There is no place for notes" in said[0]
    assert f"+…006 goes to {BEFORE}, which cannot be noted" in said[1]
    await pointer.restore()
    assert twilio.number["voice_url"] == BEFORE
