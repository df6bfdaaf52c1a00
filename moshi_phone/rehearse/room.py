"""A model of the caller's room: the loudspeaker's echo, and noise. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.rehearse.playback import Playback

MIN_ECHO_MS = 30.0
"""Lower bound: an earlier echo would contain audio not yet played when its packet leaves."""
_REVERBERATION_SAMPLES = PHONE_RATE_HZ * 80 // 1000
_DECAY = 6.9  # over that time: 60 dB
_DIRECT = 2.0
_VOICE_RMS = 0.1  # -20 dB of full scale


class Room:
    """Adds echo and noise to the caller's audio.

    Args:
        echo_ms: delay of the echo; None for no echo.
        echo_db: attenuation of the echo.
        noise_db: level of the noise below a voice; None for no noise.
        seed: of the reverberation and the noise.
    """

    def __init__(
        self,
        echo_ms: float | None = None,
        echo_db: float = 15.0,
        noise_db: float | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        count = _REVERBERATION_SAMPLES
        response = self._rng.standard_normal(count) * np.exp(-_DECAY * np.arange(count) / count)
        # The direct sound, then decaying noise: a simple model of a room's impulse response.
        response[0] = _DIRECT
        # Normalized to unit energy, so that echo_db is the attenuation.
        gain = 0.0 if echo_ms is None else 10 ** (-echo_db / 20)
        self._response = (gain * response / np.sqrt(np.sum(response**2))).astype(np.float32)
        self._delay_samples: int | None = None
        if echo_ms is not None:
            self._delay_samples = round(max(echo_ms, MIN_ECHO_MS) * PHONE_RATE_HZ / 1000)
        self._noise_rms = 0.0 if noise_db is None else _VOICE_RMS * 10 ** (-noise_db / 20)

    def echo(self, ear: Playback, at: int, samples: int) -> NDArray[np.float32]:
        """Return the echo in a packet: float32 ``[samples]``; arguments as in ``packet``."""
        if self._delay_samples is None:
            return np.zeros(samples, np.float32)
        begin = at - self._delay_samples
        heard = ear.heard_between(begin - len(self._response) + 1, begin + samples)
        return _floats(np.convolve(pcm.to_float(g711.decode(heard.tobytes())), self._response, "valid"))

    def packet(self, said: bytes, ear: Playback, at: int) -> bytes:
        """Return the packet that leaves the phone, µ-law: the caller's audio with echo and noise.

        Args:
            said: the caller's audio, µ-law, 8 kHz.
            ear: the playout, with all audio that has arrived.
            at: number of the first sample since the call's start.
        """
        samples = pcm.to_float(g711.decode(said))
        samples = _floats(samples + self.echo(ear, at, len(samples)))
        if self._noise_rms:
            samples = _floats(samples + self._rng.normal(0, self._noise_rms, len(samples)))
        return g711.encode(pcm.to_bytes(samples))


def _floats(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    return samples.astype(np.float32)
