from __future__ import annotations

import pytest
from pipecat.audio.mixers.base_audio_mixer import BaseAudioMixer
from pipecat.frames.frames import MixerControlFrame, MixerEnableFrame

from processors.line_mixer import LineMixer


class Music(BaseAudioMixer):
    """Plays ones, and records its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[object] = []

    async def start(self, sample_rate: int) -> None:
        self.calls.append(sample_rate)

    async def stop(self) -> None:
        self.calls.append("stop")

    async def process_frame(self, frame: MixerControlFrame) -> None:
        self.calls.append(frame)

    async def mix(self, audio: bytes) -> bytes:
        return bytes(byte | 1 for byte in audio)


@pytest.mark.parametrize(("flows", "mixed"), [(False, b"\1\1"), (True, b"\0\0")])
async def test_silence_is_mixed_only_without_continuous_speech(flows: bool, mixed: bytes) -> None:
    assert await LineMixer(Music(), lambda: flows).mix(bytes(2)) == mixed


@pytest.mark.parametrize("flows", [False, True])
async def test_a_clip_is_always_mixed(flows: bool) -> None:
    assert await LineMixer(Music(), lambda: flows).mix(b"\4\4") == b"\5\5"


async def test_everything_else_is_forwarded_to_the_user_s_mixer() -> None:
    music = Music()
    mixer, enable = LineMixer(music, lambda: True), MixerEnableFrame(enable=False)
    await mixer.start(8_000)
    await mixer.process_frame(enable)
    await mixer.stop()
    assert music.calls == [8_000, enable, "stop"]
