"""server/calls/option_stages.py: the stages that options add, and the actions of keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import InputDTMFFrame

from moshi_phone.records.call_metrics import CallMetrics
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.control import CallControl
from moshi_phone.server.calls.option_stages import action_monitors, caller_filters
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.media_stream import Start
from moshi_phone.testing.engine import FakeEngine
from processors.dtmf_actions import DtmfActions
from processors.gain import AutomaticGain
from processors.noise import NoiseSuppressor
from processors.phrase_trigger import PhraseTrigger

START = Start("MZ1", "CA" + "1" * 32, "AC1", {}, {})
NO_OPTIONS = Settings()


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        ({}, []),
        ({"noise_suppression": True}, [NoiseSuppressor]),
        ({"automatic_gain": True, "noise_suppression": True}, [NoiseSuppressor, AutomaticGain]),
    ],
)
def test_filters_are_off_by_default_and_noise_comes_before_gain(
    options: dict[str, bool], stages: list[type]
) -> None:
    filters = caller_filters(CallOptions(**options), CallMetrics())  # type: ignore[arg-type]
    assert [type(stage) for stage in filters] == stages


def monitors_of(settings: Settings) -> tuple[Call, list[Any]]:
    state = ServerState(FakeEngine(), settings)
    call = state.calls.begin(START)
    return call, list(action_monitors(call, state, CallControl(call, state)))


async def test_without_options_nothing_is_observed() -> None:
    assert monitors_of(NO_OPTIONS)[1] == []


async def test_only_the_hang_up_key_ends_the_call() -> None:
    call, (keys,) = monitors_of(Settings(server=replace(ServerOptions(), hangup_key="#")))
    assert isinstance(keys, DtmfActions)
    keys.observe(InputDTMFFrame(KeypadEntry("1")))
    assert call.end_reason is None
    keys.observe(InputDTMFFrame(KeypadEntry("#")))
    assert call.end_reason == "the caller pressed #"


async def test_phrases_have_a_monitor_each() -> None:
    calls = CallOptions(transfer_phrase=("a person",), hangup_phrase=("goodbye",), transfer_to="+15557654321")
    _, monitors = monitors_of(replace(NO_OPTIONS, calls=calls))
    assert [type(monitor) for monitor in monitors] == [PhraseTrigger, PhraseTrigger]


@pytest.mark.parametrize("records", [True, False])
async def test_the_opt_out_key_is_observed_only_if_calls_are_stored(tmp_path: Path, *, records: bool) -> None:
    taps = TapOptions(record=tmp_path if records else None, record_optout_key="9")
    _, monitors = monitors_of(replace(NO_OPTIONS, taps=taps))
    assert [type(monitor) for monitor in monitors] == [DtmfActions][:records]
