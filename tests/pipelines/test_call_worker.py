"""How a call's pipeline ends: after its last clip, at once if cancelled, even if a stage holds the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from pipecat.frames.frames import EndFrame, Frame, OutputAudioRawFrame
from pipecat.pipeline.sync_parallel_pipeline import SyncParallelPipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.gated import GatedAggregator
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.logger import FrameLogger

from moshi_phone.audio import pcm
from pipelines import call_worker
from processors.twilio import TwilioTransport
from tests.processors.pipecat_line import Talker, phone_line
from tests.processors.simulated_line import PhoneSocket, call, loud_s, tone
from tests.support.logs import Logged


class Forgetful(FrameProcessor):
    """A user's stage that pushes audio only."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, EndFrame):
            await self.push_frame(frame, direction)


HOLDERS: dict[str, Callable[[], FrameProcessor]] = {
    "a stage of one's own": Forgetful,
    "a closed gate": lambda: GatedAggregator(lambda _: False, lambda _: True, start_open=False),
    "a synchronous pipeline": lambda: SyncParallelPipeline([FrameLogger()], [FrameLogger()]),
}


def goodbye(secs: float) -> list[Frame]:
    return [OutputAudioRawFrame(pcm.to_bytes(tone(secs, 8_000)), 8_000, 1), EndFrame()]


def quiet(transport: TwilioTransport, before: Sequence[FrameProcessor] = ()) -> list[FrameProcessor]:
    return phone_line(transport, Talker(speaks=()), at_8_khz=before)


async def passed(worker: PipelineWorker, limit_s: float) -> float:
    """Return the seconds until the worker has finished, at most the limit."""
    now_s = asyncio.get_running_loop().time
    began_s = now_s()
    with suppress(TimeoutError):
        await asyncio.wait_for(worker.wait(), limit_s)
    return now_s() - began_s


def test_a_last_clip_is_played_completely_and_is_not_an_engine_failure(
    monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """After 5 s of it, the call used to end as if its engine gave no answer."""
    monkeypatch.setattr(call_worker, "END_SECS", 3.0)
    ended_s = []

    async def end(worker: PipelineWorker, _: TwilioTransport) -> None:
        await worker.queue_frames(goodbye(8))
        ended_s.append(await passed(worker, 12))

    heard, _ = call(quiet, 0, script=end)
    assert loud_s(heard) == pytest.approx(8, abs=0.04)
    assert ended_s == [pytest.approx(8, abs=0.3)]
    assert "gave no answer" not in logged.text


def test_a_hang_up_ends_a_call_that_waits_for_its_last_clip() -> None:
    """pipecat pushes no frame into a pipeline in which an EndFrame is in flight."""
    ended_s = []

    async def hang_up(worker: PipelineWorker, _: TwilioTransport) -> None:
        await worker.queue_frames(goodbye(30))
        await asyncio.sleep(2)
        await worker.cancel(reason="the caller hung up")
        ended_s.append(await passed(worker, 5))

    heard, _ = call(quiet, 0, script=hang_up)
    assert ended_s == [pytest.approx(0, abs=0.2)]
    assert loud_s(heard) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("stages", [[], [FrameLogger]], ids=["direct", "queued"])
def test_a_hang_up_is_noticed_while_the_last_clip_is_played(stages: list[type[FrameLogger]]) -> None:
    """Behind a stage with a queue, the socket was no longer read: neither hang-ups nor pings."""
    sockets: list[PhoneSocket] = []
    gone_s = []

    async def hang_up(worker: PipelineWorker, transport: TwilioTransport) -> None:
        async def on_client_disconnected(*_: object) -> None:
            gone_s.append(asyncio.get_running_loop().time())

        transport.add_event_handler("on_client_disconnected", on_client_disconnected)
        await asyncio.sleep(0.5)
        await worker.queue_frames(goodbye(5))
        await asyncio.sleep(2)
        sockets[0].hang_up()
        await passed(worker, 6)

    call(lambda t: quiet(t, [stage() for stage in stages]), 0, script=hang_up, on_socket=sockets.append)
    assert gone_s == [pytest.approx(2.5, abs=0.1)]


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("hangs_up", [True, False])
def test_an_end_frame_held_by_a_stage_does_not_keep_the_call(
    holder: str, *, hangs_up: bool, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr(call_worker, "END_SECS", 3.0)
    ended_s = []

    async def end(worker: PipelineWorker, _: TwilioTransport) -> None:
        await asyncio.sleep(1)
        await worker.queue_frame(EndFrame())
        await asyncio.sleep(1)
        if hangs_up:
            await worker.cancel(reason="the caller hung up")
        ended_s.append(1 + await passed(worker, 8))

    call(lambda transport: quiet(transport, [HOLDERS[holder]()]), 0, script=end)
    assert ended_s == [pytest.approx(1 if hangs_up else 3, abs=0.3)]
    assert ("An EndFrame did not reach the end of the pipeline" in logged.text) is not hangs_up
