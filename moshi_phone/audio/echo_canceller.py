"""Removes the bot's own voice from the caller's audio.

A linear filter learns the echo's path and subtracts the echo, without changing the caller's voice. When the
echo shifts against its reference, the reference is shifted too. WebRTC's echo canceller (AEC3), behind the
filter, suppresses the residual echo, such as a loudspeaker's distortion. While the caller speaks, the
filter's output is used, because AEC3 also suppresses their voice.

It delays the caller by 11 ms at 8 kHz, AEC3's own delay.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from pywebrtc_audio import AudioProcessor

from moshi_phone.audio.echo_filter import BLOCK_SAMPLES, Floats
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.linear_canceller import CancelledBlock, LinearCanceller

Samples = NDArray[np.int16]

_DELAY_SAMPLES = 88  # of AEC3 at 8 kHz, measured
DELAY_MS = _DELAY_SAMPLES / PHONE_RATE_HZ * 1000
_AEC_BLOCK_SAMPLES = PHONE_RATE_HZ // 100
# The choice between the two outputs:
_TO_AEC_STEP = 1 / 3  # a block
_SPEAKS_ON_BLOCKS = 5  # after the last block with the caller's voice
_NEW_BLOCKS = 50  # of echo: a new AEC3 suppresses any voice
_SILENT_ENERGY = 1e-7 * BLOCK_SAMPLES  # -70 dB of full scale
_LEFT_BY_AEC = 0.1  # in power, of the filter's residual: more than that of an echo
_LEFT_MEMORY = 0.1  # 0.2 s
_LEFT_MORE = 1.002  # a block, at most: 10 % a second
_WORKS = 0.03  # if a filter that left less of an echo, in power, ...
_MOSTLY = 0.15  # ... now leaves this much, its residual contains a voice
# Its effect:
# A block with less than this multiple of the predicted echo's energy contains no caller's voice.
_ONLY_ECHO = 1.25
_MEASURED_BLOCKS = 500  # 10 s
_MIN_ENERGY = 1e-8 * BLOCK_SAMPLES  # -80 dB of full scale
_FULL_SCALE = np.float32(32_768)
_USUAL_LOSS_DB = 12.0


class AcousticEchoCanceller:
    """One call's canceller: passes audio unchanged until it is switched on, then stays on.

    Audio is 8 kHz, mono, int16. Part of a block of 20 ms is held back until it is whole.

    Attributes:
        is_on: whether the output is the canceller's.
        filtered: the last input of ``process`` after the filter and before AEC3: float32, -1 to 1.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.filtered: Floats = np.zeros(0, np.float32)
        self._linear = LinearCanceller()
        self._suppression: _Suppression | None = None  # created when needed: it takes memory and time
        self._held: Samples = np.zeros(0, np.int16)

    @property
    def removed_db(self) -> float:
        """Attenuation of the echo in the caller's recent pauses; 0 while off, or without pauses."""
        return self._suppression.removed_db if self._suppression else 0.0

    def play(self, bot: Samples) -> None:
        """Add the audio that the caller hears during the next input of ``process``; of the same length."""
        self._linear.play(bot)

    def start(self, delay_ms: float = 0.0, loss_db: float = _USUAL_LOSS_DB) -> None:
        """Begin to cancel an echo, or adapt to one whose delay has changed.

        Args:
            delay_ms: of the echo; 0 if unknown.
            loss_db: of the echo, roughly.
        """
        self._suppression = self._suppression or _Suppression()
        self._linear.start(delay_ms, loss_db)

    def process(self, caller: Samples) -> Samples:
        """Return the caller's audio without the echo, on average as long as given."""
        passed = 0 if self.is_on else len(self._held)  # samples of the waiting part that were returned
        waiting = np.concatenate((self._held, caller))
        whole = len(waiting) // BLOCK_SAMPLES * BLOCK_SAMPLES
        near, self._held = waiting[:whole], waiting[whole:]
        if self._suppression is None:
            self._linear.keep(near)
            return caller
        if not whole:
            return near
        cancelled = self._linear.process(near)
        self.filtered = np.concatenate([block.rest for block in cancelled])
        blocks = [self._suppression.process(block) for block in cancelled]
        if not self.is_on:  # the first block is faded in
            self.is_on = True
            rises = np.arange(BLOCK_SAMPLES, dtype=np.float32) / BLOCK_SAMPLES
            unchanged = near[:BLOCK_SAMPLES].astype(np.float32) / _FULL_SCALE
            blocks[0] = (unchanged + rises * (blocks[0] - unchanged)).astype(np.float32, copy=False)
        cleaned: Samples = np.rint(np.clip(np.concatenate(blocks) * _FULL_SCALE, -32_768, 32_767)).astype(
            np.int16
        )
        return cleaned[passed:]


class _Suppression:
    """AEC3 behind the filter, and the choice between their outputs."""

    def __init__(self) -> None:
        self._aec = AudioProcessor(sample_rate=PHONE_RATE_HZ, echo_cancellation=True)
        # Delays the caller's audio and the filter's output as AEC3 does.
        self._late: Floats = np.zeros((2, _DELAY_SAMPLES), np.float32)
        self._aec_share = np.float32(0)
        self._near_energy = self._linear_energy = self._aec_energy = 0.0
        self._left_by_filter = 1.0  # of an echo, in power
        self._on_blocks = 0
        self._new_blocks = _NEW_BLOCKS
        # Attenuation of each of the last blocks with an echo, in dB; None if the caller may have spoken.
        self._removed_db = deque[float | None](maxlen=_MEASURED_BLOCKS)

    @property
    def removed_db(self) -> float:
        # The median: some of the blocks contain a weak voice, which the canceller must keep.
        known = [removed_db for removed_db in self._removed_db if removed_db is not None]
        return float(np.median(known)) if known else 0.0

    def process(self, block: CancelledBlock) -> Floats:
        """Return the next block without the echo: float32 ``[BLOCK_SAMPLES]``."""
        near, far = block.near, block.far
        waiting = np.concatenate((self._late, (near, block.rest)), axis=1)
        (late_near, linear), self._late = waiting[:, :BLOCK_SAMPLES], waiting[:, BLOCK_SAMPLES:]
        if block.has_echo:
            suppressed = self._suppressed(block.rest, far)
            speaks = self._speaks(near, linear, suppressed)
        else:  # AEC3 is skipped, which saves half the time in a usual call
            suppressed, speaks, self._on_blocks = linear, True, _SPEAKS_ON_BLOCKS
        # Switch quickly to the caller's own speech, and slowly back.
        share = np.float32(0 if speaks else min(1.0, float(self._aec_share) + _TO_AEC_STEP))
        if share == self._aec_share and share in (0, 1):  # mostly
            mixed = suppressed if share else linear
        else:
            shares = np.linspace(self._aec_share, share, BLOCK_SAMPLES, dtype=np.float32)
            mixed = (linear + shares * (suppressed - linear)).astype(np.float32, copy=False)
        self._aec_share = share
        if block.has_echo:
            self._removed_db.append(_attenuation_db(late_near, linear, mixed))
        return mixed

    def _suppressed(self, rest: Floats, far: Floats) -> Floats:
        blocks = [slice(at, at + _AEC_BLOCK_SAMPLES) for at in range(0, BLOCK_SAMPLES, _AEC_BLOCK_SAMPLES)]
        return np.concatenate([self._aec.process(rest[block], far[block]) for block in blocks])

    def _speaks(self, near: Floats, linear: Floats, suppressed: Floats) -> bool:
        """Return whether the caller may be speaking: AEC3 keeps part of a voice, but hardly any echo."""
        self._near_energy = 0.5 * self._near_energy + 0.5 * float(np.dot(near, near))
        self._linear_energy = 0.5 * self._linear_energy + 0.5 * float(np.dot(linear, linear))
        self._aec_energy = 0.5 * self._aec_energy + 0.5 * float(np.dot(suppressed, suppressed))
        is_heard = self._aec_energy > _LEFT_BY_AEC * self._linear_energy + _SILENT_ENERGY
        if self._near_energy > _SILENT_ENERGY:
            left = min(1.0, self._linear_energy / self._near_energy)
            # It falls quickly and rises slowly, because the residual is larger while the caller speaks.
            if left < self._left_by_filter:
                self._left_by_filter += _LEFT_MEMORY * (left - self._left_by_filter)
            else:
                self._left_by_filter = min(left, _LEFT_MORE * self._left_by_filter)
            # A working filter reveals a weak voice that AEC3 would suppress together with the echo.
            is_heard |= self._left_by_filter < _WORKS and left > _MOSTLY
        self._new_blocks = max(0, self._new_blocks - 1)
        is_heard |= self._new_blocks > 0
        self._on_blocks = _SPEAKS_ON_BLOCKS if is_heard else max(0, self._on_blocks - 1)
        return self._on_blocks > 0


def _attenuation_db(near: Floats, linear: Floats, out: Floats) -> float | None:
    """Return the attenuation of a block of echo; None if it is inaudible, or not in the whole block."""
    echo = near - linear
    before, predicted = float(np.dot(near, near)), float(np.dot(echo, echo))
    if not _SILENT_ENERGY < before < _ONLY_ECHO * predicted:
        return None
    return 10 * float(np.log10(before / max(float(np.dot(out, out)), _MIN_ENERGY)))
