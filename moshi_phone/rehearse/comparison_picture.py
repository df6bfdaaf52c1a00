"""The picture that compares several calls: delay, playout lead, gaps and backlog of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.rehearse.checks import BACKLOG_FRAMES, DELAY_MS, LEAD_MS
from moshi_phone.rehearse.comparison import compare
from moshi_phone.rehearse.picture import (
    BAD,
    BOT,
    CALLER,
    FAINT,
    INK,
    draw_limit,
    dress,
    dress_frames,
    legend_above,
    title,
)
from moshi_phone.rehearse.rehearsal import RehearsalResult

_MANY = 24  # up to here, tick labels fit at the usual size


def draw_comparison(path: Path, calls: Sequence[RehearsalResult], subtitle: str = "") -> None:
    """Draw several calls into a PNG, one column each.

    Args:
        path: the picture's path.
        calls: all calls of one rehearsal.
        subtitle: engine, date and machine, for the line below the title.
    """
    figure = Figure(figsize=(12, 8), dpi=120, layout="constrained")
    delay, lead, gaps = figure.subplots(3, 1, sharex=True, height_ratios=(5, 3, 3))
    title(figure, _title(calls), subtitle, good=all(call.held for call in calls))
    _draw_spreads(delay, [Percentiles.of(call.found.delay_ms) for call in calls], DELAY_MS, INK)
    delay.set_ylabel("mouth to ear (ms)", color=INK)
    _draw_spreads(lead, [Percentiles.of(call.found.lead_ms) for call in calls], LEAD_MS, BOT)
    lead.set_ylabel("playout lead (ms)", color=BOT)
    _draw_gaps(gaps, calls)
    gaps.set_xlabel("call; red: a point failed", color=INK)
    gaps.set_xlim(0.4, len(calls) + 0.6)
    numbers = gaps.set_xticks(range(1, len(calls) + 1), [str(i + 1) for i in range(len(calls))])
    for axes in (delay, lead, gaps):
        dress(axes)
    for tick, call in zip(numbers, calls, strict=True):
        tick.label1.set_color(INK if call.held else BAD)
        tick.label1.set_fontsize(9 if len(calls) <= _MANY else 6)
    figure.savefig(path)


def _title(calls: Sequence[RehearsalResult]) -> str:
    failed = [point for point in compare(calls) if point.passed is False]
    if not failed:
        return f"{len(calls)} calls, every point holds in each"
    named = ", ".join(f"{point.title} ({point.judged - point.held})" for point in failed)
    return f"{sum(call.held for call in calls)} of {len(calls)} calls hold. Failed: {named}"


def _draw_spreads(axes: Axes, spreads: Sequence[Percentiles | None], limit_ms: float, color: str) -> None:
    """Draw the median, the p95 and the maximum of each call; the limit applies to the p95."""
    known = [(number, spread) for number, spread in enumerate(spreads, start=1) if spread]
    at = [number for number, _ in known]
    draw_limit(axes, [value for _, spread in known for value in astuple(spread)], limit_ms)
    p50, p95 = ([getattr(spread, name) for _, spread in known] for name in ("p50", "p95"))
    axes.vlines(at, p50, p95, color=color, linewidth=4, alpha=0.35)
    for name, mark in (("max", "^"), ("p95", "_"), ("p50", "o")):
        values = [getattr(spread, name) for _, spread in known]
        shade = FAINT if name == "max" else color
        axes.plot(at, values, mark, color=shade, markersize=9 if name == "max" else 6, label=name)
    legend_above(axes, axes.get_legend_handles_labels())


def _draw_gaps(axes: Axes, calls: Sequence[RehearsalResult]) -> None:
    """Draw each call's total gaps (left axis) and the server's largest backlog (right axis)."""
    at = range(1, len(calls) + 1)
    gap_ms = [call.found.gap_ms for call in calls]
    axes.bar(at, gap_ms, width=0.5, color=BAD, alpha=0.6, label="gaps at the ear, in all")
    axes.set_ylim(0, max(20.0, 1.15 * max(gap_ms)))
    axes.set_ylabel("gaps (ms)", color=BAD)
    frames = axes.twinx()
    most = [
        max((sample.backlog_frames for sample in call.record.status_samples), default=np.nan)
        for call in calls
    ]
    name = "most frames unanswered, as the server says"
    frames.plot(at, most, "o", color=CALLER, markersize=5, label=name)
    frames.set_ylim(-0.3, max(BACKLOG_FRAMES, 1.15 * float(np.nanmax([0, *most]))))
    dress_frames(axes, frames)
