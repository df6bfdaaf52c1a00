from __future__ import annotations

import pytest
from pipecat.frames.frames import MixerEnableFrame

from processors.line_mixer import LineMixer
from tests.processors.audio_parts import Mixer


def music() -> Mixer:
    """Return a mixer that plays ones."""
    return Mixer(lambda audio: bytes(byte | 1 for byte in audio))


@pytest.mark.parametrize(("flows", "mixed"), [(False, b"\1\1"), (True, b"\0\0")])
async def test_silence_is_mixed_only_without_continuous_speech(flows: bool, mixed: bytes) -> None:
    assert await LineMixer(music(), lambda: flows).mix(bytes(2)) == mixed


@pytest.mark.parametrize("flows", [False, True])
async def test_a_clip_is_always_mixed(flows: bool) -> None:
    assert await LineMixer(music(), lambda: flows).mix(b"\4\4") == b"\5\5"


async def test_everything_else_is_forwarded_to_the_user_s_mixer() -> None:
    own = music()
    mixer, enable = LineMixer(own, lambda: True), MixerEnableFrame(enable=False)
    await mixer.start(8_000)
    await mixer.process_frame(enable)
    await mixer.stop()
    assert own.calls == [8_000, enable, "stop"]
