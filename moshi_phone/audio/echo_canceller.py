"""Removes the bot's own voice from the caller's audio.

WebRTC's echo canceller (AEC3) removes the echo of any phone, also a distorted one, or one that moves. While
both speak, it suppresses the caller's voice, too. So a linear filter learns the echo beside it, and is heard
in its place while the caller speaks.

It delays the caller by 11 ms at 8 kHz, AEC3's own delay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pywebrtc_audio import AudioProcessor

from moshi_phone.audio.echo_filter import BLOCK_SAMPLES, EchoFilter, Floats
from moshi_phone.audio.formats import PHONE_RATE_HZ

Samples = NDArray[np.int16]

_DELAY_SAMPLES = 88  # of AEC3 at 8 kHz, measured
DELAY_MS = _DELAY_SAMPLES / PHONE_RATE_HZ * 1000
_AEC_BLOCK_SAMPLES = PHONE_RATE_HZ // 100
_REFERENCE_SAMPLES = 2 * PHONE_RATE_HZ
_FULL_SCALE = np.float32(32_768)
# The filter and AEC3 find an echo that comes later than the reference, and none that comes before it. So the
# reference is delayed by less than what is known, with room for jitter and for an inexact measurement.
_LEFT_TO_FIND_MS = 60.0
_MOVED_MS = 40.0
_USUAL_LOSS_DB = 12.0


class AcousticEchoCanceller:
    """One call's canceller: passes audio unchanged until it is switched in, then stays in.

    Audio is 8 kHz, mono, int16. Part of a block of 20 ms is held back until it is whole.

    Attributes:
        is_on: whether the audio that comes out is the canceller's.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._stages: _Stages | None = None  # none before it is needed: it takes memory and time
        self._reference_delay_ms = 0.0
        self._played = np.zeros(_REFERENCE_SAMPLES, np.int16)
        self._held: Samples = np.zeros(0, np.int16)

    @property
    def removed_db(self) -> float:
        """How much weaker the echo is behind the canceller, of late, while only it was heard; 0 while off."""
        return self._stages.removed_db if self._stages else 0.0

    def play(self, bot: Samples) -> None:
        """Take what the caller hears during the audio that ``process`` takes next: as many samples."""
        self._played = np.concatenate((self._played[len(bot) :], bot[-_REFERENCE_SAMPLES:]))

    def start(self, delay_ms: float = 0.0, loss_db: float = _USUAL_LOSS_DB) -> None:
        """Begin to cancel an echo. May be called again: where the delay has moved, the reference follows.

        Args:
            delay_ms: after which it comes back; 0 where that is not known yet.
            loss_db: by how much weaker, about.
        """
        reference_ms = max(0.0, delay_ms - _LEFT_TO_FIND_MS)
        if self._stages is None:
            self._stages = _Stages(loss_db)
        elif abs(reference_ms - self._reference_delay_ms) < _MOVED_MS:
            return
        else:
            self._stages.forget_echo(loss_db)
        self._reference_delay_ms = reference_ms

    def process(self, caller: Samples) -> Samples:
        """Give the caller's audio, as long on average as it came, without the echo where one was found."""
        if self._stages is None:
            return caller
        waiting = np.concatenate((self._held, caller))
        whole = len(waiting) // BLOCK_SAMPLES * BLOCK_SAMPLES
        near, self._held = waiting[:whole], waiting[whole:]
        late = round(self._reference_delay_ms * PHONE_RATE_HZ / 1000) + len(self._held)
        far = self._played[len(self._played) - whole - late : len(self._played) - late]
        near_blocks, far_blocks = (_as_floats(side).reshape(-1, BLOCK_SAMPLES) for side in (near, far))
        blocks = list(map(self._stages.process, near_blocks, far_blocks))
        if not blocks:
            return near
        if not self.is_on:  # the first block is faded in
            self.is_on = True
            rises = np.arange(BLOCK_SAMPLES, dtype=np.float32) / BLOCK_SAMPLES
            blocks[0] = (rises * blocks[0] + (1 - rises) * near_blocks[0]).astype(np.float32)
        cleaned: Samples = np.rint(np.clip(np.concatenate(blocks) * _FULL_SCALE, -32_768, 32_767)).astype(
            np.int16
        )
        return cleaned


def _as_floats(samples: Samples) -> Floats:
    return samples.astype(np.float32) / _FULL_SCALE


class _Stages:
    """The filter and AEC3, side by side, and what decides which of the two is heard."""

    def __init__(self, loss_db: float) -> None:
        self._filter = EchoFilter(loss_db)
        self._aec = AudioProcessor(sample_rate=PHONE_RATE_HZ, echo_cancellation=True)
        self._late: Floats = np.zeros(_DELAY_SAMPLES, np.float32)  # as late as AEC3's own output
        self._aec_share = np.float32(0)
        self._near_energy = self._linear_energy = self._aec_energy = 0.0
        self._left_by_filter = 1.0  # of an echo, in power
        self._on_blocks = 0
        self._before = self._after = 0.0

    @property
    def removed_db(self) -> float:
        return 10 * float(np.log10(max(self._before, 1e-9) / max(self._after, 1e-9))) if self._before else 0.0

    def forget_echo(self, loss_db: float) -> None:
        self._filter = EchoFilter(loss_db)

    def process(self, near: Floats, far: Floats) -> Floats:
        waiting = np.concatenate((self._late, self._filter.process(near, far).rest))
        linear, self._late = waiting[:BLOCK_SAMPLES], waiting[BLOCK_SAMPLES:]
        suppressed = np.concatenate(
            [
                self._aec.process(near[at : at + _AEC_BLOCK_SAMPLES], far[at : at + _AEC_BLOCK_SAMPLES])
                for at in range(0, BLOCK_SAMPLES, _AEC_BLOCK_SAMPLES)
            ]
        )
        # Quickly to the caller's own speech, slowly away from it.
        step = np.float32(_TO_AEC_STEP)
        share = (
            np.float32(0)
            if self._speaks(near, linear, suppressed)
            else min(np.float32(1), self._aec_share + step)
        )
        shares = np.linspace(self._aec_share, share, BLOCK_SAMPLES, dtype=np.float32)
        self._aec_share = share
        mixed: Floats = (linear + shares * (suppressed - linear)).astype(np.float32, copy=False)
        if share == 1 and far.any():
            self._before = _REMOVED_MEMORY * self._before + float(np.dot(near, near))
            self._after = _REMOVED_MEMORY * self._after + float(np.dot(mixed, mixed))
        return mixed

    def _speaks(self, near: Floats, linear: Floats, suppressed: Floats) -> bool:
        """Tell whether the caller speaks: AEC3 leaves some of their voice, and hardly anything of an echo."""
        self._near_energy = 0.5 * self._near_energy + 0.5 * float(np.dot(near, near))
        self._linear_energy = 0.5 * self._linear_energy + 0.5 * float(np.dot(linear, linear))
        self._aec_energy = 0.5 * self._aec_energy + 0.5 * float(np.dot(suppressed, suppressed))
        is_heard = self._aec_energy > _LEFT_BY_AEC * self._linear_energy + _SILENT_ENERGY
        if self._near_energy > _SILENT_ENERGY:
            left = min(1.0, self._linear_energy / self._near_energy)
            if not is_heard:
                self._left_by_filter += _MEMORY * (left - self._left_by_filter)
            # A filter that works shows a weak voice that AEC3 would suppress together with the echo.
            is_heard |= self._left_by_filter < _WORKS and left > _MOSTLY
        self._on_blocks = _SPEAKS_ON_BLOCKS if is_heard else max(0, self._on_blocks - 1)
        return self._on_blocks > 0


_TO_AEC_STEP = 1 / 3  # a block
_REMOVED_MEMORY = 0.99  # two seconds
_SILENT_ENERGY = 1e-7 * BLOCK_SAMPLES  # -70 dB of full scale
_LEFT_BY_AEC = 0.1  # in power, of what the filter leaves
_SPEAKS_ON_BLOCKS = 5
_MEMORY = 0.05  # 0.4 s
_WORKS = 0.03
_MOSTLY = 0.15
