"""Measurements of a call, computed from its record. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import FRAME_MS, PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.audio.silence import SILENCE_RMS
from moshi_phone.rehearse.alignment import Alignment, Samples, align
from moshi_phone.rehearse.playback import Gap
from moshi_phone.rehearse.quality import Quality, clipped_share, line_quality
from moshi_phone.rehearse.record import CallRecord

_SLICE_SAMPLES = 80  # voices are detected in slices of 10 ms
_BRIDGED_SLICES = 12  # silences of up to 120 ms occur inside words
_HOLE_SLICES = 50  # 500 ms: a longer one is outside a sentence
_QUARTER = 4


@dataclass(frozen=True)
class Measurements:
    """Measurements at the caller's ear. Units are in the names.

    Attributes:
        first_audio_ms: from ``start`` to the first audio; None without audio.
        first_voice_ms: from ``start`` to the first sound above -45 dB.
        delay_ms: for each frame of the caller (80 ms), from its first sample at the mouth to the answer's
            at the ear; float64 ``[frames]``, NaN where unknown.
        delay_by: the method: ``content`` (the caller's words were found in the answer) or ``order`` (the
            k-th frame of the answer against the k-th of the caller).
        order_ms: the delay by order, also if ``delay_ms`` is by content; float64 ``[frames]``.
        drift_ms: the median delay in the call's last quarter minus that in its first.
        flow_share: share of the caller's speaking time with returning audio, 0 to 1. Audio within the last
            half second counts, so that a merely slow engine still flows.
        both_voices_s: the longest time with both voices at once, ignoring gaps in the audio.
        gaps: buffer underruns after the first audio.
        lead_ms: buffered audio at each arrival of audio; float64 ``[messages]``.
        lead_at_s: times of those arrivals, since the call's start.
        in_flight_frames: frames of the caller sent and not yet answered, at each arrival of audio;
            float64 ``[messages]``.
        quality: the line's quality, if the caller's words came back.
        clock_skew: relative skew of the caller's returned words, if any: 0.01 is 1 % slow.
        clipped_share: share of the heard samples at full scale.
        late_ms: the maximum lateness of the caller's own packets, caused by the measuring machine.
    """

    first_audio_ms: float | None
    first_voice_ms: float | None
    delay_ms: NDArray[np.float64]
    delay_by: str
    order_ms: NDArray[np.float64]
    drift_ms: float | None
    flow_share: float
    both_voices_s: float
    gaps: list[Gap]
    lead_ms: NDArray[np.float64]
    lead_at_s: NDArray[np.float64]
    in_flight_frames: NDArray[np.float64]
    quality: Quality | None
    clock_skew: float | None
    clipped_share: float
    late_ms: float

    @property
    def gap_ms(self) -> float:
        """Total duration of the gaps."""
        return sum(gap.ms for gap in self.gaps)


def measure(record: CallRecord, *, repeats_after_ms: float | None = None) -> Measurements:
    """Measure a call.

    Args:
        record: the call's record.
        repeats_after_ms: the intended delay of an engine that repeats the caller. If unknown, it is
            estimated so that the first second's delay by content equals that by order.
    """
    said, heard, ear = record.said_pcm, record.heard_pcm, record.ear
    gaps = [gap for gap in ear.gaps if gap.heard_sample + gap.samples <= len(heard)]
    # None unless the caller's words come back: only a mirror or a parrot returns them.
    alignment = align(said, heard)
    by_order = _delay_by_order(record)
    # Prefer content: it does not depend on frame counts, which drops and trimming change.
    delay_ms, delay_by = by_order, "order"
    if alignment is not None:
        delay_ms, delay_by = _delay_by_content(record, alignment, by_order, repeats_after_ms), "content"
    slices = min(len(said), len(heard)) // _SLICE_SAMPLES
    flowing = _flowing(record, slices)
    caller_speaks, bot_speaks = _speaks(said)[:slices], _speaks(heard, gaps)[:slices]
    heard_first = np.flatnonzero(bot_speaks)
    arrived_s = np.array([segment.arrived_s for segment in ear.segments])
    return Measurements(
        first_audio_ms=(float(arrived_s[0]) - record.began_s) * 1000 if len(arrived_s) else None,
        first_voice_ms=float(heard_first[0]) * 10 if len(heard_first) else None,
        delay_ms=delay_ms,
        delay_by=delay_by,
        order_ms=by_order,
        drift_ms=_drift_ms(delay_ms),
        flow_share=float(flowing[caller_speaks].mean()) if caller_speaks.any() else 0.0,
        both_voices_s=_longest(caller_speaks & bot_speaks) * _SLICE_SAMPLES / PHONE_RATE_HZ,
        gaps=gaps,
        lead_ms=_leads_ms(record),
        lead_at_s=arrived_s - record.began_s,
        in_flight_frames=_in_flight(record, arrived_s),
        quality=line_quality(said, heard, alignment, gaps) if alignment else None,
        clock_skew=alignment.clock_skew if alignment else None,
        clipped_share=clipped_share(heard),
        late_ms=_late_ms(record),
    )


def _delay_by_order(record: CallRecord) -> NDArray[np.float64]:
    """Compute the delay from the k-th frame of the caller to the k-th of the answer, mouth to ear.

    The server reports dropped frames and trimmed silence. Both are accounted for: each would otherwise look
    like added delay. It also reports the delay of its filters, which the order of samples does not show.
    """
    ends_s, heard_s = record.frame_ends_s, record.ear.heard_s()
    lost = np.zeros(len(ends_s), np.int64)
    filters_ms = np.zeros(len(ends_s))
    for sample in record.status_samples:
        # Cumulative counts: each sample of the status replaces the earlier ones from its time on.
        lost[ends_s >= sample.at_s] = sample.lost_samples
        filters_ms[ends_s >= sample.at_s] = sample.filters_ms
    at = np.arange(len(ends_s)) * PHONE_FRAME_SAMPLES - lost
    delay_ms = np.full(len(ends_s), np.nan)
    known = (at >= 0) & (at < len(heard_s))
    delay_ms[known] = (heard_s[at[known]] - ends_s[known]) * 1000 + FRAME_MS + filters_ms[known]
    return delay_ms


def _delay_by_content(
    record: CallRecord, alignment: Alignment, by_order: NDArray[np.float64], repeats_after_ms: float | None
) -> NDArray[np.float64]:
    """Compute each frame's delay from the alignment, minus the engine's intended delay."""
    frames = min(len(alignment.lag_samples), len(by_order))
    ideal_s = record.began_s + (np.arange(frames) + 1) * FRAME_MS / 1000
    back_s = ideal_s - FRAME_MS / 1000 + alignment.lag_samples[:frames] / PHONE_RATE_HZ
    delay_ms: NDArray[np.float64] = (back_s - record.frame_ends_s[:frames]) * 1000 + FRAME_MS
    if repeats_after_ms is None:
        early = np.flatnonzero(np.isfinite(delay_ms) & np.isfinite(by_order[:frames]))[: int(1000 / FRAME_MS)]
        if not len(early):
            return delay_ms
        repeats_after_ms = float(np.median(delay_ms[early] - by_order[early]))
    return delay_ms - repeats_after_ms


def _drift_ms(delay_ms: NDArray[np.float64]) -> float | None:
    quarter = len(delay_ms) // _QUARTER
    first, last = Percentiles.of(delay_ms[:quarter]), Percentiles.of(delay_ms[len(delay_ms) - quarter :])
    return last.p50 - first.p50 if first and last else None


def _speaks(samples: Samples, gaps: Sequence[Gap] = ()) -> NDArray[np.bool_]:
    """Return whether each slice of 10 ms holds a voice.

    Short silences count as voice, as do gaps of up to half a second inside it.
    """
    from scipy.ndimage import binary_closing  # noqa: PLC0415 - as in alignment.py

    slices = samples[: len(samples) // _SLICE_SAMPLES * _SLICE_SAMPLES].reshape(-1, _SLICE_SAMPLES)
    loud = np.square(slices).mean(axis=1) > SILENCE_RMS**2
    for gap in gaps:
        first, last = gap.heard_sample // _SLICE_SAMPLES, (gap.heard_sample + gap.samples) // _SLICE_SAMPLES
        if first and last - first <= _HOLE_SLICES:
            loud[first : last + 1] |= loud[first - 1]
    return np.asarray(loud | binary_closing(loud, np.ones(_BRIDGED_SLICES + 1, np.bool_)), np.bool_)


def _flowing(record: CallRecord, slices: int) -> NDArray[np.bool_]:
    """Return whether audio, silent or not, arrived within half a second before each slice of 10 ms."""
    flowing = np.zeros(slices, np.bool_)
    for segment in record.ear.segments:
        first = int((segment.arrived_s - record.began_s) * PHONE_RATE_HZ) // _SLICE_SAMPLES
        flowing[first : first + _HOLE_SLICES] = True
    return flowing


def _longest(runs: NDArray[np.bool_]) -> int:
    # Padded with False, so that a run at either end has both edges.
    edges = np.flatnonzero(np.diff(np.concatenate(([False], runs, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def _leads_ms(record: CallRecord) -> NDArray[np.float64]:
    """Return the playout lead at each message: its playing time minus its arrival."""
    ear = record.ear
    return np.array(
        [
            max(0.0, ear.start_s + segment.heard_sample / PHONE_RATE_HZ - segment.arrived_s) * 1000
            for segment in ear.segments
        ]
    )


def _in_flight(record: CallRecord, arrived_s: NDArray[np.float64]) -> NDArray[np.float64]:
    sent = np.searchsorted(record.frame_ends_s, arrived_s, side="right")
    received = np.array([segment.received_sample for segment in record.ear.segments]) / PHONE_FRAME_SAMPLES
    return np.maximum(0.0, sent - received)


def _late_ms(record: CallRecord) -> float:
    due_s = record.began_s + (np.arange(len(record.left_s)) + 1) * 0.02
    return float((np.array(record.left_s) - due_s).max() * 1000) if record.left_s else 0.0
