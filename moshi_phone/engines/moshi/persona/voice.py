"""Voice prompts: PersonaPlex' ``.pt`` files, and recordings as voices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyloudnorm
import soundfile
import soxr
from numpy.typing import NDArray

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from moshi_phone.engines.duplex import EngineError
from moshi_phone.engines.moshi.checkpoint.torch_archive import NotTensors, read_tensors
from moshi_phone.engines.moshi.codec.codec import Mimi

EMBEDDINGS_AXES = 4
CACHE_AXES = 3


class VoiceUnfit(EngineError):
    """The file is not a voice, or not one for this model."""


@dataclass(frozen=True, eq=False)
class EmbeddedVoice:
    """A voice in NVIDIA's format: embeddings that the main transformer reads in place of tokens.

    Attributes:
        embeddings: float32 ``[positions, dim]``, for the first positions.
        cache: int64 ``[1 + codebooks, slots]``: the token ring of NVIDIA's generator after them. Time t is in
            slot ``(t + 1 + delay) % slots``, because the first slot holds start tokens.
    """

    embeddings: NDArray[np.float32]
    cache: NDArray[np.int64]

    @property
    def frames(self) -> int:
        """Length in frames of speech. The first frame has no separate position."""
        return len(self.embeddings) + 1


@dataclass(frozen=True, eq=False)
class SpokenVoice:
    """A voice from a recording: its Mimi tokens, uint32 ``[frames, 8]``.

    Start tokens replace the first frame, as in NVIDIA's generator.
    """

    tokens: NDArray[np.uint32]

    @property
    def frames(self) -> int:
        """Length in frames."""
        return len(self.tokens)


Voice = EmbeddedVoice | SpokenVoice


def read_voice(path: Path) -> EmbeddedVoice:
    """Read one of NVIDIA's ``NAME.pt`` files.

    Raises:
        VoiceUnfit: when it is not a voice file.
    """
    try:
        tensors = read_tensors(path)
    except NotTensors as error:
        raise VoiceUnfit(f"{path} is not a voice: {error}.") from error
    except OSError as error:
        raise VoiceUnfit(f"The voice {path} cannot be read ({error.strerror or error}).") from error
    if tensors.keys() != {"embeddings", "cache"}:
        raise VoiceUnfit(f"{path} is not a voice: expected embeddings and cache, got {sorted(tensors)}.")
    embeddings, cache = tensors["embeddings"], tensors["cache"]
    # ``read_tensors`` returns floats and int64 only.
    if embeddings.shape[1:3] != (1, 1) or embeddings.ndim != EMBEDDINGS_AXES or embeddings.dtype == np.int64:
        raise VoiceUnfit(
            f"{path} is not a voice: expected embeddings [frames, 1, 1, dim], got {list(embeddings.shape)}."
        )
    if cache.shape[:1] != (1,) or cache.ndim != CACHE_AXES or cache.dtype != np.int64:
        raise VoiceUnfit(
            f"{path} is not a voice: expected a cache int64 [1, rows, slots], "
            f"got {cache.dtype} {list(cache.shape)}."
        )
    if not np.isfinite(embeddings).all():
        raise VoiceUnfit(f"{path} is not a voice: its embeddings are not all finite.")
    return EmbeddedVoice(embeddings[:, 0, 0].astype(np.float32), cache[0])


LOUDNESS_LUFS = -24.0  # NVIDIA's code normalizes recordings to this loudness
MIN_SECS = 1.0  # loudness is measured in blocks of 0.4 s
MAX_SECS = 30.0  # each second takes 12.5 positions of the context


def read_recording(path: Path) -> Pcm:
    """Read a sound file of any sample rate and number of channels.

    Returns:
        float32 ``[samples]``, 24 kHz mono, at -24 LUFS.

    Raises:
        VoiceUnfit: when it is not a sound file, or is too short, too long or silent.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate_hz, secs = int(file.samplerate), file.frames / file.samplerate
            if not MIN_SECS <= secs <= MAX_SECS:
                raise VoiceUnfit(
                    f"The voice {path} lasts {secs:.1f} s; "
                    f"expected a recording of {MIN_SECS:g} to {MAX_SECS:g} s."
                )
            # The length is explicit, because soundfile cannot find it in formats without seeking (GSM 6.10).
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
    """Encode float32 ``[samples]`` at 24 kHz; the last frame is padded with silence.

    Args:
        pcm: the recording.
        mimi: a codec without earlier state. Encoding takes half of real time.
    """
    frames = math.ceil(len(pcm) / FRAME_SAMPLES)
    padded = np.zeros(frames * FRAME_SAMPLES, np.float32)
    padded[: len(pcm)] = pcm
    return SpokenVoice(np.stack([mimi.encode(frame) for frame in padded.reshape(frames, FRAME_SAMPLES)]))
