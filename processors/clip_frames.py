"""Frames of audio that the output sends in real time, through pipecat's queue."""

from __future__ import annotations

from pipecat.frames.frames import OutputAudioRawFrame, TTSAudioRawFrame

from moshi_phone.audio import g711
from moshi_phone.audio.formats import PHONE_RATE_HZ
from processors.frames import MulawOutputFrame


class ClipAudioFrame(OutputAudioRawFrame):
    """Plain audio in pipecat's queue, as distinct from a mixer's own audio."""


def paced(frame: MulawOutputFrame) -> OutputAudioRawFrame:
    """Return the audio as PCM, in a frame that pipecat's queue can cut into chunks of its class."""
    audio = g711.decode(frame.mulaw)
    try:
        clip = frame.kind(audio, PHONE_RATE_HZ, num_channels=1)
    except TypeError:  # the user's own class has more fields
        kind = TTSAudioRawFrame if issubclass(frame.kind, TTSAudioRawFrame) else OutputAudioRawFrame
        clip = kind(audio, PHONE_RATE_HZ, num_channels=1)
    clip.interruptible = frame.interruptible
    clip.transport_destination = frame.transport_destination
    return as_clip(clip)


def as_clip(frame: OutputAudioRawFrame) -> OutputAudioRawFrame:
    """Return plain audio as a ``ClipAudioFrame``, and a frame of any other class unchanged."""
    if type(frame) is not OutputAudioRawFrame:
        return frame
    clip = ClipAudioFrame(frame.audio, frame.sample_rate, frame.num_channels)
    clip.interruptible = frame.interruptible
    clip.transport_destination = frame.transport_destination
    return clip
