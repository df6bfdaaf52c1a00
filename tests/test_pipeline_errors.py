"""What a stage's error does to a call: one that its service recovers from, and one that it does not."""

from __future__ import annotations

import pytest
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.ai_service import AIService

from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from pipelines.call_parts import CallParts
from pipelines.phone_call import phone_call
from tests.support.phone import Phone, serving


class Stumbles(AIService):
    """A service that loses its first answer, permanently or not."""

    def __init__(self, *, permanent: bool) -> None:
        super().__init__()
        self._permanent = permanent
        self._stumbled = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame) and not self._stumbled:
            self._stumbled = True
            await self.push_error("The service lost an answer.", force_treat_as_permanent=self._permanent)


def _with(parts: CallParts, stage: Stumbles) -> Pipeline:
    stages = list(phone_call(parts).processors[1:-1])
    at = next(n for n, one in enumerate(stages) if type(one).__name__ == "MulawDecoder")
    return Pipeline([*stages[: at + 1], stage, *stages[at + 1 :]])


def stumbling(parts: CallParts) -> Pipeline:
    return _with(parts, Stumbles(permanent=False))


def falling(parts: CallParts) -> Pipeline:
    return _with(parts, Stumbles(permanent=True))


@pytest.mark.parametrize(
    ("function", "code", "reason"),
    [("stumbling", 1000, "the caller hung up"), ("falling", 1011, "The service lost an answer.")],
)
async def test_an_error_of_a_service_ends_the_call_only_if_it_cannot_go_on(
    function: str, code: int, reason: str
) -> None:
    options = ServerOptions(pipeline=f"tests.test_pipeline_errors:{function}")
    state = ServerState(ParrotEngine(), Settings(server=options))
    async with serving(state) as address, Phone.calling(address) as phone:
        if code == 1000:
            await phone.say(times=100)
            await phone.listen(10)
            await phone.send({"event": "stop"})
        else:
            await phone.say(times=4)
        assert await phone.closed() == (code, reason)
