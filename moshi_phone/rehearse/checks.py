"""The checklist of a rehearsal: each criterion with its measured figure and its bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.rehearse.measure import Measurements
from moshi_phone.rehearse.record import CallRecord

FIRST_AUDIO_MS = 1_000.0
DELAY_MS = 380.0  # mouth to ear: the frame, 80 ms, and 300 for all that follows
FLOW_SHARE = 0.8  # below 100 %: "gaps" judges stalls
BOTH_VOICES_S = 0.5  # a half-duplex bot never speaks while the caller does
DRIFT_MS = 50.0
GAP_SHARE = 0.005
BACKLOG_FRAMES = 5  # 400 ms: the engine then drops frames
LEAD_MS = 400.0
STOI = 0.95
CLIPPED_SHARE = 0.001
CLOSED_WITHIN_S = 2.0
_STREAM_SHARE = 0.5  # below this: single answers, not a stream

_NOT_ACCEPTED = "not judged: the stream was not accepted"
_NO_STREAM = "not judged: no steady stream came back"


@dataclass(frozen=True)
class Criterion:
    """One line of the checklist.

    Attributes:
        key: its name in ``report.json``.
        title: its name for people.
        passed: the verdict; None if it could not be judged.
        figure: the measured value, as text.
        bound: the required value, as text.
        by_speed: whether a machine too slow for its engine can fail it.
        numbers: the measured values, for ``report.json``.
    """

    key: str
    title: str
    passed: bool | None
    figure: str
    bound: str
    by_speed: bool = False
    numbers: Mapping[str, float | None] = field(default_factory=dict[str, float | None])


@dataclass(frozen=True)
class CallContext:
    """Facts about a call beyond its audio.

    Attributes:
        ready: whether the server reported that it was ready; None if it did not answer.
        ready_s: the server's start time, if this rehearsal started it.
        prompts_before_stream: the TwiML's verbs that speak before the stream; None without TwiML.
        no_webhook: why there was no TwiML.
        free: whether the session was free again after the call; None if unknown.
        session_free_detail: the evidence for ``free``, as text.
    """

    ready: bool | None = None
    ready_s: float | None = None
    prompts_before_stream: list[str] | None = None
    no_webhook: str = ""
    free: bool | None = None
    session_free_detail: str = ""


def check(around: CallContext, record: CallRecord, found: Measurements) -> list[Criterion]:
    """Judge a call, criterion by criterion, in the order of its phases.

    Args:
        around: facts beyond its audio.
        record: the call's record.
        found: its measurements.
    """
    # With hardly any returned audio, its delay and gaps would be meaningless.
    streams = found.flow_share >= _STREAM_SHARE
    return [
        _ready(around),
        _accepted(record),
        _protocol(record),
        _first_audio(record, found),
        _own_voice(around, found),
        _duplex(record, found),
        _delay(found, streams),
        _drift(found, streams),
        _gaps(record, found, streams),
        _keeps_up(record, found, streams),
        _quality(found, streams),
        _clean_end(record),
        _free(around),
    ]


def _ready(around: CallContext) -> Criterion:
    took = {} if around.ready_s is None else {"ready_s": around.ready_s}
    figure = {None: "not asked", True: "ready", False: "not ready"}[around.ready]
    if around.ready and around.ready_s is not None:
        figure = f"after {around.ready_s:.1f} s, its engine loaded"
    return Criterion("ready", "Server ready", around.ready, figure, "ready", numbers=took)


def _accepted(record: CallRecord) -> Criterion:
    return Criterion(
        "accepted", "Stream accepted", record.refused is None, record.refused or "accepted", "accepted"
    )


def _protocol(record: CallRecord) -> Criterion:
    count = record.violation_count
    figure = f"{count} bad: {record.violations[0]}" if count else "all as documented"
    passed = None if record.refused else count == 0
    return Criterion(
        "protocol", "Twilio's protocol", passed, figure, "no bad message", numbers={"bad": count}
    )


def _first_audio(record: CallRecord, found: Measurements) -> Criterion:
    first = found.first_audio_ms
    passed = first is not None and first <= FIRST_AUDIO_MS
    return Criterion(
        "first_audio",
        "First audio after start",
        None if record.refused else passed,
        _NOT_ACCEPTED if record.refused else "none came" if first is None else f"{first:.0f} ms",
        f"≤ {FIRST_AUDIO_MS:.0f} ms",
        by_speed=True,
        numbers={"first_audio_ms": first, "first_voice_ms": found.first_voice_ms},
    )


def _own_voice(around: CallContext, found: Measurements) -> Criterion:
    before = around.prompts_before_stream
    passed: bool | None = None if before is None else not before
    figure = f"not judged: {around.no_webhook or 'there was no stream'}"
    if before:
        figure = f"<{'>, <'.join(before)}> speaks first"
    elif before is not None:
        voice = found.first_voice_ms
        figure = "nothing before the stream" + (f", first voice at {voice:.0f} ms" if voice else "")
    return Criterion("own_voice", "The engine's own voice first", passed, figure, "no <Say>, no <Play>")


def _duplex(record: CallRecord, found: Measurements) -> Criterion:
    passed = found.flow_share >= FLOW_SHARE and found.both_voices_s >= BOTH_VOICES_S
    heard = f"audio in {found.flow_share:.0%} of the caller's speech; both voices {found.both_voices_s:.1f} s"
    return Criterion(
        "duplex",
        "Full duplex",
        None if record.refused else passed,
        _NOT_ACCEPTED if record.refused else heard,
        f"≥ {FLOW_SHARE:.0%}, ≥ {BOTH_VOICES_S:g} s",
        numbers={"flow_share": found.flow_share, "both_voices_s": found.both_voices_s},
    )


def _delay(found: Measurements, streams: bool) -> Criterion:
    spread = Percentiles.of(found.delay_ms)
    if not streams or spread is None:
        return Criterion(
            "delay", "Delay, mouth to ear", None, _NO_STREAM, f"p95 ≤ {DELAY_MS:.0f} ms", by_speed=True
        )
    return Criterion(
        "delay",
        "Delay, mouth to ear",
        spread.p95 <= DELAY_MS,
        f"p50 {spread.p50:.0f}, p95 {spread.p95:.0f}, max {spread.max:.0f} ms, by {found.delay_by}",
        f"p95 ≤ {DELAY_MS:.0f} ms",
        by_speed=True,
        numbers={"p50_ms": spread.p50, "p95_ms": spread.p95, "max_ms": spread.max},
    )


def _drift(found: Measurements, streams: bool) -> Criterion:
    drift = found.drift_ms
    bound = f"within ±{DRIFT_MS:.0f} ms"
    if not streams or drift is None:
        return Criterion("drift", "No drift", None, _NO_STREAM, bound, by_speed=True)
    figure = f"{drift:+.0f} ms from the first quarter to the last"
    numbers = {"drift_ms": drift}
    return Criterion(
        "drift", "No drift", abs(drift) <= DRIFT_MS, figure, bound, by_speed=True, numbers=numbers
    )


def _gaps(record: CallRecord, found: Measurements, streams: bool) -> Criterion:
    bound = f"≤ {GAP_SHARE:.1%} of the call"
    if not streams:
        return Criterion("gaps", "No gaps at the ear", None, _NO_STREAM, bound, by_speed=True)
    longest = max((gap.ms for gap in found.gaps), default=0.0)
    return Criterion(
        "gaps",
        "No gaps at the ear",
        found.gap_ms <= GAP_SHARE * record.secs * 1000,
        f"{len(found.gaps)} gaps, {found.gap_ms:.0f} ms in all, the longest {longest:.0f} ms",
        bound,
        by_speed=True,
        numbers={"gaps": len(found.gaps), "gap_ms": found.gap_ms, "longest_ms": longest},
    )


def _keeps_up(record: CallRecord, found: Measurements, streams: bool) -> Criterion:
    title, bound = "Keeps up", f"backlog ≤ {BACKLOG_FRAMES}, nothing dropped, lead p95 ≤ {LEAD_MS:.0f} ms"
    lead = Percentiles.of(found.lead_ms)
    if not streams or lead is None:
        return Criterion("keeps_up", title, None, _NO_STREAM, bound, by_speed=True)
    figure = f"lead p50 {lead.p50:.0f}, p95 {lead.p95:.0f} ms"
    passed = lead.p95 <= LEAD_MS
    numbers: dict[str, float | None] = {"lead_p50_ms": lead.p50, "lead_p95_ms": lead.p95}
    if record.status_samples:
        backlog = max(sample.backlog_frames for sample in record.status_samples)
        last = record.status_samples[-1]
        figure = f"backlog {backlog} frames at most, {last.dropped_frames} dropped; {figure}"
        passed = passed and backlog <= BACKLOG_FRAMES and not last.dropped_frames
        numbers |= {"backlog_frames": backlog, "dropped_frames": last.dropped_frames}
        numbers |= {"trimmed_ms": last.trimmed_ms}
    return Criterion("keeps_up", title, passed, figure, bound, by_speed=True, numbers=numbers)


def _quality(found: Measurements, streams: bool) -> Criterion:
    title, bound = "Line quality", f"STOI ≥ {STOI:g}, clipped ≤ {CLIPPED_SHARE:.1%}"
    numbers: dict[str, float | None] = {"clipped_share": found.clipped_share}
    clean = found.clipped_share <= CLIPPED_SHARE
    clipped = f"clipped {found.clipped_share:.2%}"
    if found.quality is None:
        # Without the caller's own words only clipping can be judged.
        why = "the engine does not repeat the caller" if streams else _NO_STREAM.partition(": ")[2]
        if found.clock_skew:
            how = "slower" if found.clock_skew > 0 else "faster"
            why = f"the words come back {abs(found.clock_skew):.1%} {how}"
        passed = None if clean else False
        return Criterion(
            "quality", title, passed, f"{clipped}; STOI not judged: {why}", bound, numbers=numbers
        )
    stoi, snr_db = found.quality.stoi, found.quality.snr_db
    numbers |= {"stoi": stoi, "snr_db": snr_db}
    figure = f"STOI {stoi:.3f}, {snr_db:.0f} dB, {clipped}"
    return Criterion("quality", title, clean and stoi >= STOI, figure, bound, numbers=numbers)


def _clean_end(record: CallRecord) -> Criterion:
    title, bound = "Clean end", f"closed ≤ {CLOSED_WITHIN_S:g} s after stop"
    if record.refused:
        return Criterion("clean_end", title, None, "not judged: there was no stream", bound)
    if record.broken:
        return Criterion("clean_end", title, False, record.broken, bound)
    after = record.closed_after_s
    if after is None:
        return Criterion("clean_end", title, False, "the server left the socket open", bound)
    passed = after <= CLOSED_WITHIN_S and record.close_code in (1000, 1001)
    figure = f"closed {after * 1000:.0f} ms after stop, code {record.close_code}"
    return Criterion("clean_end", title, passed, figure, bound, numbers={"closed_after_s": after})


def _free(around: CallContext) -> Criterion:
    return Criterion(
        "session_free", "Session free again", around.free, around.session_free_detail or "not asked", "free"
    )


def held(points: list[Criterion]) -> bool:
    """Whether no criterion failed."""
    return all(point.passed is not False for point in points)


def finite(values: NDArray[np.float64]) -> list[float | None]:
    """Convert numbers for JSON: rounded, with None in place of NaN."""
    return [round(float(value), 2) if np.isfinite(value) else None for value in values]
