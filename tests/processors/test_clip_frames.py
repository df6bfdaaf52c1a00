from __future__ import annotations

from dataclasses import dataclass

import pytest
from pipecat.frames.frames import OutputAudioRawFrame, TTSAudioRawFrame

from moshi_phone.audio import g711
from processors.clip_frames import ClipAudioFrame, as_clip, paced
from processors.frames import MulawOutputFrame


@dataclass
class LabelledAudioFrame(TTSAudioRawFrame):
    """A user's own class that cannot be made from audio alone."""

    label: str = ""

    def __init__(self, audio: bytes, label: str) -> None:
        super().__init__(audio, 8000, 1)
        self.label = label


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (OutputAudioRawFrame, ClipAudioFrame),
        (TTSAudioRawFrame, TTSAudioRawFrame),
        (LabelledAudioFrame, TTSAudioRawFrame),
    ],
)
def test_mu_law_becomes_pcm_of_its_kind(
    kind: type[OutputAudioRawFrame], expected: type[OutputAudioRawFrame]
) -> None:
    frame = MulawOutputFrame(bytes(range(160)), kind=kind)
    frame.interruptible = False
    frame.transport_destination = "second"
    clip = paced(frame)
    assert type(clip) is expected
    assert clip.audio == g711.decode(frame.mulaw)
    assert (clip.sample_rate, clip.num_channels) == (8000, 1)
    assert (clip.interruptible, clip.transport_destination) == (False, "second")


def test_only_plain_audio_becomes_a_clip() -> None:
    speech = TTSAudioRawFrame(b"\0\0", 8000, 1)
    assert as_clip(speech) is speech
    plain = OutputAudioRawFrame(b"\0\0", 8000, 1)
    plain.interruptible = False
    clip = as_clip(plain)
    assert type(clip) is ClipAudioFrame
    assert (clip.audio, clip.interruptible) == (b"\0\0", False)
