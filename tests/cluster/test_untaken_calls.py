"""cluster/untaken_calls.py: a gateway records and reports calls that no worker took, and takes messages."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.cluster.untaken_calls import adopt_reports
from moshi_phone.hooks.options import HookOptions
from moshi_phone.records.call_row import Kind, Outcome
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.options import TwilioOptions
from tests.cluster.local_cluster import PUBLIC, LocalCluster, local_cluster, settings
from tests.fakes.hook import hook, says
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, FakeTwilioApi
from tests.fakes.twilio_voice import CALLER
from tests.support.waiting import until

TWIML = f"{PUBLIC}/twiml"
RECORDING = "RE" + "d" * 32
DENIED = "+441234567890"


def sid(number: int) -> str:
    return f"CA{number:032x}"


def of_account(twilio: FakeTwilioApi, tmp_path: Path, url: str = "", **calls: str) -> Settings:
    hooks = HookOptions(on_end=url or None, on_end_folder=tmp_path / "outbox", deny=("+44*",))
    taps = TapOptions(fallback_record=tmp_path / "messages")
    made = settings(hooks=hooks, taps=taps, calls=CallOptions(**calls))  # type: ignore[arg-type]
    return replace(made, twilio=TwilioOptions(ACCOUNT_SID, AUTH_TOKEN, twilio.url))


def rows(cluster: LocalCluster) -> list[tuple[str, Outcome]]:
    found = [row for one in cluster.gateways() for row in one.runs.state.history.rows]
    return sorted((row.call_sid[-1], row.outcome) for row in found)


async def fill(cluster: LocalCluster, calls: AsyncExitStack) -> None:
    for number in (1, 2):
        twiml = await cluster.voice.call_in(TWIML, sid(number))
        phone, _ = await calls.enter_async_context(cluster.voice.obey(twiml, sid(number)))
        await phone.say(times=4)
        await phone.listen(1)


def form(number: int, **fields: str) -> dict[str, str]:
    return {
        "AccountSid": ACCOUNT_SID,
        "CallSid": sid(number),
        "CallStatus": "in-progress",
        "Direction": "inbound",
        "From": CALLER,
        "To": NUMBER,
        **fields,
    }


async def test_a_caller_without_a_session_leaves_a_message(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    """In a cluster, there used to be a busy tone only, without a row or a report."""
    twilio.recordings[RECORDING] = b"RIFF" + bytes(2_000)
    async with hook(says()) as told:
        of = of_account(twilio, tmp_path, told.url)
        async with (
            local_cluster(ClusterOptions(workers=1, gateways=2), of) as cluster,
            AsyncExitStack() as calls,
        ):
            await fill(cluster, calls)
            assert "rejected" in await cluster.voice.call_in(TWIML, sid(4), DENIED)
            twiml = ET.fromstring(await cluster.voice.call_in(TWIML, sid(3)))  # noqa: S314 - our own
            assert [verb.tag for verb in twiml] == ["Say", "Record", "Hangup"]
            assert rows(cluster) == [("3", Outcome.FALLBACK), ("4", Outcome.DENIED)]
            left = form(3, RecordingSid=RECORDING, RecordingDuration="7")
            status, answer = await cluster.voice.post(f"{PUBLIC}/recorded", left)
            assert (status, "<Hangup" in answer) == (200, True)
            await until(lambda: not twilio.recordings)
            assert rows(cluster) == [("3", Outcome.MESSAGE), ("4", Outcome.DENIED)], "one row a call"
            (row,) = [row for one in cluster.gateways() for row in one.runs.state.history.rows if row.secs]
            assert (row.kind, row.secs) == (Kind.MESSAGE, 7.0)
            assert Path(row.files["recording"]).parent == tmp_path / "messages"
            await until(lambda: len(told.told) == 3)
            events = {(event["call_sid"][-1], event["outcome"]) for event in told.told}
    assert events == {("3", "fallback"), ("3", "message"), ("4", "denied")}


async def test_a_transfer_s_result_and_whisper_reach_the_call_s_worker(
    twilio: FakeTwilioApi, tmp_path: Path
) -> None:
    of = of_account(twilio, tmp_path, transfer_whisper="A call from the practice.")
    async with local_cluster(ClusterOptions(workers=2), of) as cluster, AsyncExitStack() as calls:
        await fill(cluster, calls)
        status, twiml = await cluster.voice.post(f"{PUBLIC}/whisper?call={sid(1)}", form(9))
        assert (status, "A call from the practice." in twiml) == (200, True)
        for number, how, verb in ((1, "completed", "Hangup"), (2, "no-answer", "Record")):
            fields = form(number, DialCallStatus=how, DialCallDuration="42")
            status, twiml = await cluster.voice.post(f"{PUBLIC}/transferred", fields)
            assert (status, f"<{verb}" in twiml) == (200, True)
        found = [row for name in ("w1", "w2") for row in cluster.worker(name)._state.history.rows]  # type: ignore[union-attr]
        assert {row.call_sid[-1]: row.transfer_outcome for row in found} == {
            "1": "completed",
            "2": "no-answer",
        }
        assert rows(cluster) == []


def test_reports_of_stopped_gateways_are_delivered_by_another(tmp_path: Path) -> None:
    for name in ("d1", "d2", "d3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.json").write_text("{}")
    adopt_reports(tmp_path / "d3", {"d2", "d3"})
    assert sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*.json")) == [
        "d2/d2.json",
        "d3/d1.json",
        "d3/d3.json",
    ]
    assert not (tmp_path / "d1").exists()
