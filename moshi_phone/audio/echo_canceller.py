"""Removes the bot's own voice from the caller's audio.

A linear filter learns the echo's path and subtracts the echo, which leaves the caller's voice as it is. When
the echo moves against its reference, so does the reference. WebRTC's echo canceller (AEC3), behind the
filter, suppresses the rest, such as a loudspeaker's distortion. While the caller speaks, the filter's output
is used, since AEC3 suppresses their voice, too.

It delays the caller by 11 ms at 8 kHz, AEC3's own delay.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from pywebrtc_audio import AudioProcessor

from moshi_phone.audio.echo_alignment import EchoAlignment
from moshi_phone.audio.echo_filter import BLOCK_SAMPLES, WINDOW_SAMPLES, EchoFilter, Filtered, Floats
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.history import History

Samples = NDArray[np.int16]

_DELAY_SAMPLES = 88  # of AEC3 at 8 kHz, measured
DELAY_MS = _DELAY_SAMPLES / PHONE_RATE_HZ * 1000
_AEC_BLOCK_SAMPLES = PHONE_RATE_HZ // 100
_LEARNT_SAMPLES = 3 * PHONE_RATE_HZ // 2  # of the past, as soon as an echo is found
_MAX_DELAY_SAMPLES = PHONE_RATE_HZ  # the longest echo comes 0.85 s late
_MAX_AHEAD_SAMPLES = PHONE_RATE_HZ
_REFERENCE_SAMPLES = _LEARNT_SAMPLES + _MAX_AHEAD_SAMPLES + _MAX_DELAY_SAMPLES + PHONE_RATE_HZ // 2
_BLOCKS_AT_ONCE = 5  # of the past and present: the past is learnt within a second, without a long pause
_SILENT = 32  # of 16-bit samples, -60 dB of full scale: the echo of that is not heard
# The choice between the two outputs:
_TO_AEC_STEP = 1 / 3  # a block
_SPEAKS_ON_BLOCKS = 5  # after the last block with the caller's voice
_SILENT_ENERGY = 1e-7 * BLOCK_SAMPLES  # -70 dB of full scale
_LEFT_BY_AEC = 0.1  # in power, of what the filter leaves: more than of an echo
_LEFT_MEMORY = 0.05  # 0.4 s
_WORKS = 0.03  # a filter that leaves less of an echo, in power, ...
_MOSTLY = 0.15  # ... and now leaves this much, lets a voice through
_MOSTLY_ECHO = 0.25  # the filter leaves less than this of the caller's audio
_REMOVED_MEMORY = 0.99  # two seconds
_FULL_SCALE = np.float32(32_768)
# The filter and AEC3 find an echo that comes later than the reference, and none that comes before it. So the
# reference is delayed by less than what is known, with room for jitter and for an inexact measurement.
_LEFT_TO_FIND_MS = 45.0
_MOVED_SAMPLES = 40 * PHONE_RATE_HZ // 1000
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
        self._reference_delay = 0  # in samples
        self._played = History(_REFERENCE_SAMPLES, np.int16)
        self._ahead = 0  # samples played during caller audio that ``process`` has not taken yet
        self._said = History(_LEARNT_SAMPLES, np.int16)  # to learn from once an echo is found
        self._held: Samples = np.zeros(0, np.int16)

    @property
    def removed_db(self) -> float:
        """Recent attenuation of the echo while the caller was silent; 0 while off."""
        return self._stages.removed_db if self._stages else 0.0

    def play(self, bot: Samples) -> None:
        """Add what the caller hears during the audio that ``process`` takes next: as many samples."""
        self._played.append(bot)
        self._ahead = min(self._ahead + len(bot), _MAX_AHEAD_SAMPLES)

    def start(self, delay_ms: float = 0.0, loss_db: float = _USUAL_LOSS_DB) -> None:
        """Begin to cancel an echo, or adapt to one whose delay has changed.

        Args:
            delay_ms: of the echo; 0 if unknown.
            loss_db: of the echo, roughly.
        """
        delay = round(max(0.0, delay_ms - _LEFT_TO_FIND_MS) * PHONE_RATE_HZ / 1000)
        if self._stages is None:
            self._stages = _Stages()
        elif abs(delay - self._reference_delay) < _MOVED_SAMPLES:
            return
        self._reference_delay = delay
        past = self._said.last.reshape(-1, BLOCK_SAMPLES)
        later = self._ahead + len(self._held) + BLOCK_SAMPLES * np.arange(len(past))[::-1]
        self._stages.learn(
            loss_db,
            [
                (block.copy(), self._window(samples).copy())
                for block, samples in zip(past, later.tolist(), strict=True)
            ],
        )

    def process(self, caller: Samples) -> Samples:
        """Return the caller's audio without the echo, on average as long as given."""
        self._ahead = max(0, self._ahead - len(caller))
        if self._stages is None:
            self._said.append(caller)
            return caller
        waiting = np.concatenate((self._held, caller))
        whole = len(waiting) // BLOCK_SAMPLES * BLOCK_SAMPLES
        near, self._held = waiting[:whole], waiting[whole:]
        if not whole:
            return near
        self._said.append(near)
        blocks = list[Floats]()
        for end in range(BLOCK_SAMPLES, whole + 1, BLOCK_SAMPLES):
            window = self._window(self._ahead + len(self._held) + whole - end)
            block, moved = self._stages.process(near[end - BLOCK_SAMPLES : end], window)
            self._reference_delay = min(max(0, self._reference_delay + moved), _MAX_DELAY_SAMPLES)
            blocks.append(block)
        if not self.is_on:  # the first block is faded in
            self.is_on = True
            rises = np.arange(BLOCK_SAMPLES, dtype=np.float32) / BLOCK_SAMPLES
            unchanged = _as_floats(near[:BLOCK_SAMPLES])
            blocks[0] = (unchanged + rises * (blocks[0] - unchanged)).astype(np.float32, copy=False)
        cleaned: Samples = np.rint(np.clip(np.concatenate(blocks) * _FULL_SCALE, -32_768, 32_767)).astype(
            np.int16
        )
        return cleaned

    def _window(self, later: int) -> Samples:
        """Return the reference of a block of the caller's audio after which so many samples have come."""
        end = max(WINDOW_SAMPLES, _REFERENCE_SAMPLES - later - self._reference_delay)
        return self._played.last[end - WINDOW_SAMPLES : end]


def _as_floats(samples: Samples) -> Floats:
    return samples.astype(np.float32) / _FULL_SCALE


def _is_silent(window: Samples) -> bool:
    return bool(window.max() < _SILENT and window.min() > -_SILENT)


class _Stages:
    """The filter, AEC3 behind it, and the choice between their outputs."""

    def __init__(self) -> None:
        self._aec = AudioProcessor(sample_rate=PHONE_RATE_HZ, echo_cancellation=True)
        self._late: Floats = np.zeros(_DELAY_SAMPLES, np.float32)  # delays the filter's output as AEC3 does
        self._aec_share = np.float32(0)
        self._near_energy = self._linear_energy = self._aec_energy = 0.0
        self._left_by_filter = 1.0  # of an echo, in power
        self._on_blocks = 0
        self._before = self._after = 0.0
        self.learn(_USUAL_LOSS_DB, [])

    @property
    def removed_db(self) -> float:
        return 10 * float(np.log10(max(self._before, 1e-9) / max(self._after, 1e-9))) if self._before else 0.0

    def learn(self, loss_db: float, past: list[tuple[Samples, Samples]]) -> None:
        """Learn an echo from the beginning: first from past blocks and their windows."""
        self._filter, self._alignment = EchoFilter(loss_db), EchoAlignment()
        self._to_filter = deque(past)  # bounded by the past, and emptied within a second

    def process(self, near_block: Samples, window: Samples) -> tuple[Floats, int]:
        """Return the next block without the echo, and by how many samples the echo has moved."""
        near, far = _as_floats(near_block), _as_floats(window[-BLOCK_SAMPLES:])
        filtered = self._filtered(near_block, window)
        if filtered.is_restarted:
            self._alignment = EchoAlignment()
        moved = self._alignment.add(near, filtered.echo)
        waiting = np.concatenate((self._late, filtered.rest))
        linear, self._late = waiting[:BLOCK_SAMPLES], waiting[BLOCK_SAMPLES:]
        if _is_silent(window):  # no echo: AEC3 rests, which saves half the time of a usual call
            suppressed, speaks, self._on_blocks = linear, True, _SPEAKS_ON_BLOCKS
        else:
            suppressed = self._suppressed(filtered.rest, far)
            speaks = self._speaks(near, linear, suppressed)
        # Quickly to the caller's own speech, slowly away from it.
        share = np.float32(0 if speaks else min(1.0, float(self._aec_share) + _TO_AEC_STEP))
        if share == self._aec_share and share in (0, 1):  # mostly
            mixed = suppressed if share else linear
        else:
            shares = np.linspace(self._aec_share, share, BLOCK_SAMPLES, dtype=np.float32)
            mixed = (linear + shares * (suppressed - linear)).astype(np.float32, copy=False)
        self._aec_share = share
        if far.any() and (share == 1 or self._linear_energy < _MOSTLY_ECHO * self._near_energy):
            self._before = _REMOVED_MEMORY * self._before + float(np.dot(near, near))
            self._after = _REMOVED_MEMORY * self._after + float(np.dot(mixed, mixed))
        return mixed, moved

    def _filtered(self, near: Samples, window: Samples) -> Filtered:
        if not self._to_filter:  # the past is learnt
            return self._filter_block(near, window)
        self._to_filter.append((near, window.copy()))
        for _ in range(min(_BLOCKS_AT_ONCE, len(self._to_filter))):
            filtered = self._filter_block(*self._to_filter.popleft())
        if self._to_filter:  # still in the past
            return Filtered(_as_floats(near), np.zeros(BLOCK_SAMPLES, np.float32))
        return filtered

    def _filter_block(self, near: Samples, window: Samples) -> Filtered:
        if _is_silent(window):
            return Filtered(_as_floats(near), np.zeros(BLOCK_SAMPLES, np.float32))
        return self._filter.process(_as_floats(near), _as_floats(window))

    def _suppressed(self, rest: Floats, far: Floats) -> Floats:
        blocks = [slice(at, at + _AEC_BLOCK_SAMPLES) for at in range(0, BLOCK_SAMPLES, _AEC_BLOCK_SAMPLES)]
        return np.concatenate([self._aec.process(rest[block], far[block]) for block in blocks])

    def _speaks(self, near: Floats, linear: Floats, suppressed: Floats) -> bool:
        """Return whether the caller speaks: AEC3 leaves some of a voice, and hardly anything of an echo."""
        self._near_energy = 0.5 * self._near_energy + 0.5 * float(np.dot(near, near))
        self._linear_energy = 0.5 * self._linear_energy + 0.5 * float(np.dot(linear, linear))
        self._aec_energy = 0.5 * self._aec_energy + 0.5 * float(np.dot(suppressed, suppressed))
        is_heard = self._aec_energy > _LEFT_BY_AEC * self._linear_energy + _SILENT_ENERGY
        if self._near_energy > _SILENT_ENERGY:
            left = min(1.0, self._linear_energy / self._near_energy)
            if not is_heard:
                self._left_by_filter += _LEFT_MEMORY * (left - self._left_by_filter)
            # A filter that works shows a weak voice that AEC3 would suppress together with the echo.
            is_heard |= self._left_by_filter < _WORKS and left > _MOSTLY
        self._on_blocks = _SPEAKS_ON_BLOCKS if is_heard else max(0, self._on_blocks - 1)
        return self._on_blocks > 0
