from __future__ import annotations

from pipecat.frames.frames import Frame, TextFrame
from pipecat.tests.utils import run_test

from processors.tap import Tap


class Observer:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.closed = 0

    def observe(self, frame: Frame) -> None:
        if isinstance(frame, TextFrame):
            self.texts.append(frame.text)

    def close(self) -> None:
        self.closed += 1


async def test_every_observer_sees_every_frame_and_frames_pass_unchanged() -> None:
    one, other = Observer(), Observer()
    frames = [TextFrame("a"), TextFrame("b")]
    passed, _ = await run_test(Tap(one, other), frames_to_send=frames, expected_down_frames=[TextFrame] * 2)
    assert one.texts == other.texts == ["a", "b"]
    assert all(out is sent for out, sent in zip(passed, frames, strict=True))


async def test_observers_are_closed_with_the_pipeline() -> None:
    one, other = Observer(), Observer()
    await run_test(Tap(one, other), frames_to_send=[], expected_down_frames=[])
    assert one.closed
    assert other.closed
