from __future__ import annotations

from collections.abc import Callable

import pytest
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_transport import BaseTransport

from moshi_phone.testing.engine import FakeEngine, FakeSession
from pipelines.any_transport import any_transport
from pipelines.call_parts import CallParts
from pipelines.phone_call import phone_call
from processors.gain import AutomaticGain
from processors.noise import NoiseSuppressor
from processors.tap import Tap


class Transport(BaseTransport):
    """Input and output that do nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = FrameProcessor(name="input"), FrameProcessor(name="output")

    def input(self) -> FrameProcessor:
        return self.ends[0]

    def output(self) -> FrameProcessor:
        return self.ends[1]


async def test_the_stages_are_in_this_order() -> None:
    engine = FakeEngine()
    session = FakeSession(engine)
    inbound, outbound = Tap(), Tap()
    pipeline = phone_call(CallParts(Transport(), session, inbound_taps=[inbound], taps=[outbound]))
    stages = pipeline.processors[1:-1]  # without the pipeline's own two ends
    assert [stage.name if type(stage) is FrameProcessor else type(stage).__name__ for stage in stages] == [
        "input",
        "Tap",
        "MulawDecoder",
        "EchoCanceller",
        "Resampler",
        "MoshiProcessor",
        "Resampler",
        "PlayoutGovernor",
        "MulawEncoder",
        "Tap",
        "output",
    ]
    assert stages[1] is inbound
    assert stages[-2] is outbound


@pytest.mark.parametrize(
    ("make", "rate_hz", "expected"),
    [
        (
            phone_call,
            8_000,
            ["MulawDecoder", "EchoCanceller", "NoiseSuppressor", "AutomaticGain", "Resampler"],
        ),
        (any_transport, 8_000, ["input", "EchoCanceller", "NoiseSuppressor", "AutomaticGain", "Resampler"]),
        (
            any_transport,
            24_000,
            ["input", "EchoCanceller", "NoiseSuppressor", "AutomaticGain", "MoshiProcessor"],
        ),  # these warn
    ],
)
async def test_filters_of_the_caller_s_audio_come_before_the_engine(
    make: Callable[[CallParts], Pipeline], rate_hz: int, expected: list[str]
) -> None:
    cleaners = [NoiseSuppressor(), AutomaticGain()]
    session = FakeSession(FakeEngine())
    pipeline = make(CallParts(Transport(), session, rate_hz=rate_hz, cleaners=cleaners))
    names = [
        stage.name if type(stage) is FrameProcessor else type(stage).__name__ for stage in pipeline.processors
    ]
    end = names.index(expected[-1]) + 1
    assert names[end - len(expected) : end] == expected
