from __future__ import annotations

import pytest
from pipecat.frames.frames import FilterEnableFrame, MixerEnableFrame

from processors.audio_part import AudioPartWrapper
from tests.processors.audio_parts import Filter, Mixer


@pytest.mark.parametrize(
    ("part", "setting"),
    [(Filter(bytes), FilterEnableFrame(enable=False)), (Mixer(bytes), MixerEnableFrame(enable=False))],
)
async def test_everything_but_the_audio_is_forwarded(part: Filter | Mixer, setting: object) -> None:
    wrapper = AudioPartWrapper(part)
    await wrapper.start(8_000)
    await wrapper.process_frame(setting)
    await wrapper.stop()
    assert part.calls == [8_000, setting, "stop"]
