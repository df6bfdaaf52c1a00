"""A recording as a voice: brought to the loudness that PersonaPlex knows, and to Mimi's tokens."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyloudnorm
import soundfile
import soxr

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.persona.voice import SpokenVoice, VoiceUnfit

LOUDNESS_LUFS = -24.0  # NVIDIA's code brings a recording to this before it encodes it
SHORTEST_SECS = 1.0  # loudness is measured in blocks of 0.4 s
LONGEST_SECS = 30.0  # each second takes 12.5 of the positions that the model remembers


def read_recording(path: Path) -> Pcm:
    """Read a sound file of any rate and any number of channels.

    Returns:
        float32 ``[samples]``, 24 kHz mono, at -24 LUFS.

    Raises:
        VoiceUnfit: when it is none, or too short, too long, or silent.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate_hz, secs = int(file.samplerate), file.frames / file.samplerate
            if not SHORTEST_SECS <= secs <= LONGEST_SECS:
                raise VoiceUnfit(
                    f"The voice {path} lasts {secs:.1f} s; "
                    f"expected a recording of {SHORTEST_SECS:g} to {LONGEST_SECS:g} s."
                )
            # As many as it says: of what cannot be sought in (GSM 6.10) soundfile would not know how many.
            heard = file.read(file.frames, dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, OSError, ZeroDivisionError) as error:
        raise VoiceUnfit(f"The voice {path} cannot be read as sound ({error}).") from error
    if not np.isfinite(heard).all():
        raise VoiceUnfit(f"The voice {path} holds values that are not finite.")
    pcm = soxr.resample(heard, rate_hz, SAMPLE_RATE_HZ)
    loudness = pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(pcm.astype(np.float64))
    if not math.isfinite(loudness):
        raise VoiceUnfit(f"The voice {path} is silent; expected somebody speaking.")
    gain = np.float32(10 ** ((LOUDNESS_LUFS - loudness) / 20))
    return np.asarray(pcm * gain, np.float32)


def encode_recording(pcm: Pcm, mimi: Mimi) -> SpokenVoice:
    """Turn float32 ``[samples]`` at 24 kHz into tokens; the last frame is filled up with silence.

    Args:
        pcm: the recording.
        mimi: a clean one. It takes half a frame's time for each frame.
    """
    frames = math.ceil(len(pcm) / FRAME_SAMPLES)
    padded = np.zeros(frames * FRAME_SAMPLES, np.float32)
    padded[: len(pcm)] = pcm
    return SpokenVoice(np.stack([mimi.encode(frame) for frame in padded.reshape(frames, FRAME_SAMPLES)]))
