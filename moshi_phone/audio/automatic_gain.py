"""Amplifies a caller who is far too quiet, and no other. Pure.

WebRTC's own gain control is not used: it starts every call with 15 dB.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ

Samples = NDArray[np.int16]

TARGET_DBFS = -23.0
MAX_GAIN_DB = 18.0
MAX_NOISE_DBFS = -50.0
"""Noise is not raised above this."""
FAR_TOO_QUIET_DB = 8.0
"""Below the target. A caller who is less quiet than that is left alone."""
_BLOCK_SAMPLES = PHONE_RATE_HZ // 50
_BLOCKS_PER_S = PHONE_RATE_HZ / _BLOCK_SAMPLES
_SPEECH_ABOVE_NOISE_DB = 10.0
_QUIETEST_SPEECH_DBFS = -60.0
_MIN_DBFS = -90.0
_NOISE_PARTS, _PART_BLOCKS = 4, 25  # the quietest block of two seconds is the noise
_MEAN_BELOW_LEVEL_DB = 6.0  # of speech: the mean of its blocks' dB, below the dB of their mean power
_KNOWN_BLOCKS = 50  # of speech, before its level is trusted
_LEVEL_MEMORY = 1 / 250  # five seconds of speech
_STEP_DB = 3.0 / _BLOCKS_PER_S
_NOISE_STEP_DB = 12.0 / _BLOCKS_PER_S  # downwards, when noise begins
_LIMIT = 0.7 * 32_768  # -3 dB of full scale
_RELEASE = 10 ** (60 / 20 / _BLOCKS_PER_S)


class GainControl:
    """One call's gain: follows the level of the speech slowly, and is constant in pauses.

    Audio is 8 kHz, mono, int16. It is not delayed. Speech that is loud enough passes unchanged.

    Attributes:
        gain_db: of the last block, without the limiter: 0 to ``MAX_GAIN_DB``.
    """

    def __init__(self) -> None:
        self.gain_db = 0.0
        self._applied = 1.0  # at the end of the last block, with the limiter
        self._limiter = 1.0  # factor that prevents clipping; recovers slowly
        # Level of the caller's speech, and the number of blocks that it was measured in.
        self._speech_db = 0.0
        self._speech_blocks = 0
        # The noise floor: minima of the last parts, each of some blocks.
        self._blocks = 0
        self._minima_db = deque[float](maxlen=_NOISE_PARTS)

    def process(self, samples: Samples) -> Samples:
        """Return the audio, amplified if the caller is too quiet; otherwise the same array object."""
        blocks = [
            self._block(samples[at : at + _BLOCK_SAMPLES]) for at in range(0, len(samples), _BLOCK_SAMPLES)
        ]
        if all(louder is None for louder in blocks):
            return samples
        return np.concatenate(
            [
                samples[at * _BLOCK_SAMPLES : (at + 1) * _BLOCK_SAMPLES] if louder is None else louder
                for at, louder in enumerate(blocks)
            ]
        )

    def _block(self, block: Samples) -> Samples | None:
        floats = block.astype(np.float32)
        power = float(np.dot(floats, floats)) / len(block) / 32_768**2
        self._listen(power)
        return self._amplify(floats)

    def _listen(self, power: float) -> None:
        level_db = _db(power)
        if self._blocks % _PART_BLOCKS == 0:
            self._minima_db.append(level_db)
        else:
            self._minima_db[-1] = min(self._minima_db[-1], level_db)
        self._blocks += 1
        noise_db = min(self._minima_db)
        bound_db = MAX_NOISE_DBFS - noise_db
        if level_db > max(noise_db + _SPEECH_ABOVE_NOISE_DB, _QUIETEST_SPEECH_DBFS):
            self._speech_blocks += 1
            step = max(_LEVEL_MEMORY, 1 / self._speech_blocks)
            # a mean of dB: one loud sound has little weight
            self._speech_db += step * (level_db - self._speech_db)
            if self._speech_blocks >= _KNOWN_BLOCKS:
                missing_db = TARGET_DBFS - _MEAN_BELOW_LEVEL_DB - self._speech_db
                wanted_db = max(0.0, min(missing_db, MAX_GAIN_DB, bound_db))
                if self.gain_db == 0 and missing_db < FAR_TOO_QUIET_DB:
                    wanted_db = 0.0
                change_db = wanted_db - self.gain_db
                self.gain_db += max(-_STEP_DB, min(_STEP_DB, change_db))
        elif self.gain_db > bound_db:  # in a pause it only falls, when noise begins
            self.gain_db = max(0.0, bound_db, self.gain_db - _NOISE_STEP_DB)

    def _amplify(self, floats: NDArray[np.float32]) -> Samples | None:
        gain = 10 ** (self.gain_db / 20)
        if gain == self._applied == 1:
            return None
        peak = float(np.abs(floats).max()) * gain
        self._limiter = min(1.0, self._limiter * _RELEASE, _LIMIT / max(peak, 1.0))
        before, self._applied = self._applied, max(1.0, gain * self._limiter)
        gains = (
            self._applied  # at once if it would be too loud
            if self._applied < before and peak > _LIMIT
            else np.linspace(before, self._applied, len(floats), dtype=np.float32)
        )
        louder: Samples = np.rint(np.clip(floats * gains, -32_768, 32_767)).astype(np.int16)
        return louder


def _db(power: float) -> float:
    return max(_MIN_DBFS, 10 * float(np.log10(power + 1e-12)))
