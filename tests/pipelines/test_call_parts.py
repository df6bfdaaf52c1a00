"""A pipeline function that returns the whole worker: observers, metrics, turns, options, in a real call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from pipecat.frames.frames import BotStartedSpeakingFrame, MetricsFrame, StartFrame
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.observers.turn_tracking_observer import TurnTrackingObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.transports.base_transport import TransportParams

from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.testing import FakeSession, FakeTransport
from pipelines.call_parts import CallParts
from pipelines.phone_call import phone_call
from processors.twilio import TwilioSerializer, TwilioTransport
from tests.support.phone import Phone, serving

LOUD = bytes([0x10, 0x90] * 80)
HERE = "tests.pipelines.test_call_parts:observed_call"


class Seen(BaseObserver):
    """Records the kinds of pushed frames, and the calls' options."""

    kinds: set[type] = set()  # noqa: RUF012 - of all calls, for the test to look at
    options: dict[str, str] = {}  # noqa: RUF012

    async def on_push_frame(self, data: FramePushed) -> None:
        Seen.kinds.add(type(data.frame))


def observed_call(parts: CallParts) -> PipelineWorker:
    """A normal call, with a pipecat observer, metrics and turns."""
    Seen.kinds.clear()
    Seen.options = dict(parts.options)
    params = PipelineParams(enable_metrics=True)
    return parts.worker(phone_call(parts), params=params, observers=[Seen()], enable_turn_tracking=True)


async def test_the_worker_s_observers_see_a_real_call() -> None:
    settings = Settings(server=ServerOptions(pipeline=HERE, pipeline_option=("colour=red",)))
    line = ServerState(ParrotEngine(delay_s=0), settings)
    async with serving(line) as address, Phone.calling(address) as phone:
        await phone.say(LOUD, times=60)
        assert len(set(await phone.listen(frames=12))) > 10
    assert {StartFrame, BotStartedSpeakingFrame, MetricsFrame} <= Seen.kinds
    assert Seen.options == {"colour": "red"}


async def test_setup_files_of_pipecat_s_are_run_for_each_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = tmp_path / "setup.py"
    setup.write_text(
        "async def setup_pipeline_worker(worker):\n"
        f"    with open({str(tmp_path / 'workers')!r}, 'a') as workers:\n"
        "        workers.write(f'{worker.name}\\n')\n"
    )
    monkeypatch.setenv("PIPECAT_SETUP_FILES", str(setup))
    line = ServerState(ParrotEngine(delay_s=0))
    async with serving(line) as address:
        for _ in range(2):
            async with Phone.calling(address) as phone:
                await phone.say(LOUD, times=8)
                await phone.listen(frames=1)
    assert len((tmp_path / "workers").read_text().splitlines()) == 2


async def test_the_defaults_of_a_worker() -> None:
    parts = CallParts(FakeTransport(), FakeSession())
    worker = parts.worker(Pipeline([]))
    assert (worker.params.audio_in_sample_rate, worker.params.audio_out_sample_rate) == (8_000, 8_000)
    assert worker.turn_tracking_observer is None
    with pytest.raises(Exception, match="RTVI"):
        _ = worker.rtvi
    traced = parts.worker(Pipeline([]), enable_tracing=True)  # there were no spans
    assert traced.turn_trace_observer is not None


async def test_given_parameters_override_the_defaults() -> None:
    parts = CallParts(FakeTransport(), FakeSession(), rate_hz=24_000, rtvi=True)
    params = PipelineParams(audio_in_sample_rate=16_000, enable_metrics=True)
    worker = parts.worker(Pipeline([]), params=params, enable_turn_tracking=True)
    assert (worker.params.audio_in_sample_rate, worker.params.audio_out_sample_rate) == (16_000, 24_000)
    assert worker.params.enable_metrics
    assert isinstance(worker.turn_tracking_observer, TurnTrackingObserver)
    assert worker.rtvi


async def test_filters_are_for_the_phone_and_for_the_kit_too() -> None:
    params = TransportParams(audio_out_volume=0.5)
    parts = CallParts(FakeTransport(), FakeSession())
    parts.configure(params)  # it has no parameters: a pipeline function can be tested with it
    phone = TwilioTransport(MagicMock(), TwilioSerializer("MZ1"))
    replace(parts, transport=phone).configure(params)
    assert phone.output()._volume == 0.5
