"""The caller's speech: a sound file converted to the phone network's format.

The embedded clip was made with espeak-ng 1.51 (Debian's) and sox::

    espeak-ng -v en-gb-x-rp+f3 -s 165 -w raw.wav "Hello, this is a rehearsal. I keep talking while you speak,
        because that is how people talk on the phone. The birch canoe slid on the smooth planks. Glue the
        sheet to the dark blue background. It is easy to tell the depth of a well."
    sox raw.wav -r 8000 -b 16 -c 1 caller.flac norm -6

Three of its sentences are from the Harvard list 1 (IEEE 1969), written for testing telephones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.runtime.errors import UserError

CALLER_FILE = Path(__file__).with_name("caller.flac")
LEAD_IN_S = 0.5  # silence before the caller talks, while the bot still greets
TAIL_S = 1.0  # silence before the caller hangs up
_PAUSE_S = 0.6  # between two rounds of the clip


class ClipUnusable(UserError):
    """The caller's file is unusable; the message gives the reason."""


def caller_speech(path: Path, secs: float) -> bytes:
    """Return the caller's audio for a call: silence, the file repeated as often as it fits, silence.

    Args:
        path: WAV, FLAC or another format of libsndfile, at any sample rate; channels are mixed.
        secs: length of the call.

    Returns:
        µ-law, 8 kHz mono, whole frames of 80 ms.

    Raises:
        ClipUnusable: when the file cannot be read, or is silent.
    """
    clip = read_clip(path)
    samples = int(secs * PHONE_RATE_HZ) // PHONE_FRAME_SAMPLES * PHONE_FRAME_SAMPLES
    speech = np.zeros(samples, np.float32)
    at, end = int(LEAD_IN_S * PHONE_RATE_HZ), samples - int(TAIL_S * PHONE_RATE_HZ)
    while at < end:
        part = clip[: end - at]
        speech[at : at + len(part)] = part
        at += len(part) + int(_PAUSE_S * PHONE_RATE_HZ)
    return g711.encode(pcm.to_bytes(speech))


def read_clip(path: Path) -> NDArray[np.float32]:
    """Read speech of any sample rate and number of channels as float32 ``[n]``, 8 kHz mono.

    Raises:
        ClipUnusable: when the file cannot be read, or is silent.
    """
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise ClipUnusable(f"Cannot play {path}: {error}") from error
    mono: NDArray[np.float32] = samples.mean(axis=1)
    if rate_hz != PHONE_RATE_HZ:
        from scipy.signal import resample_poly  # noqa: PLC0415 - slow to load, and seldom needed

        divisor = int(np.gcd(rate_hz, PHONE_RATE_HZ))
        mono = resample_poly(mono, PHONE_RATE_HZ // divisor, rate_hz // divisor)
    if not mono.size or float(np.abs(mono).max()) < 1e-3:  # noqa: PLR2004 - 60 dB below full scale
        raise ClipUnusable(f"{path} is silent; the caller needs something to say.")
    return mono.astype(np.float32)
