"""The picture of a call: both voices, the delay of each answer, and the buffers over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from moshi_phone.audio.formats import FRAME_MS, PHONE_RATE_HZ
from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.rehearse.alignment import Samples
from moshi_phone.rehearse.checks import BACKLOG_FRAMES, DELAY_MS, Criterion, held
from moshi_phone.rehearse.delay_axis import DelayAxis
from moshi_phone.rehearse.measure import Measurements
from moshi_phone.rehearse.record import CallRecord

CALLER, BOT, INK, SOFT, FAINT, BAD = "#2a6f97", "#e07a3f", "#222831", "#5d676b", "#9aa3ab", "#c1272d"
_COLUMNS = 1600
_FAINTEST = 0.05
_HEARD_MS = 10.0


def draw(
    path: Path, record: CallRecord, found: Measurements, points: list[Criterion], subtitle: str = ""
) -> None:
    """Draw a call into a PNG; see ``compose``."""
    compose(record, found, points, subtitle).savefig(path)


def compose(record: CallRecord, found: Measurements, points: list[Criterion], subtitle: str = "") -> Figure:
    """Draw a call.

    Args:
        record: the call's record.
        found: its measurements.
        points: its checklist; the title names the failed points.
        subtitle: engine, date and machine, for the line below the title.
    """
    figure = Figure(figsize=(12, 8), dpi=120, layout="constrained")
    voices, delay, buffers = figure.subplots(3, 1, sharex=True, height_ratios=(5, 4, 3))
    title(figure, _title(points), subtitle, good=held(points))
    _draw_voices(voices, record, found)
    _draw_delay(delay, found)
    _draw_buffers(buffers, record, found)
    buffers.set_xlabel("seconds since the start of the call", color=INK)
    buffers.set_xlim(0, max(record.secs, 0.1))
    for axes in (voices, delay, buffers):
        dress(axes)
    return figure


def title(figure: Figure, words: str, subtitle: str, *, good: bool) -> None:
    """Add the verdict as the title, and the provenance below it."""
    figure.suptitle(words, color=INK if good else BAD, fontsize=14, x=0.01, ha="left")
    if subtitle:
        # The constrained layout leaves room for this line.
        figure.set_layout_engine("constrained", rect=(0, 0, 1, 0.98))
        figure.text(0.01, 0.955, subtitle, color=SOFT, fontsize=10, ha="left", va="center")


def dress(axes: Axes) -> None:
    """Apply the common style of all pictures to an axis."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9)


def dress_frames(axes: Axes, frames: Axes) -> None:
    """Style a second axis, of frames, on the right, and add one legend for both."""
    frames.set_ylabel("frames unanswered", color=CALLER)
    frames.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    frames.spines[["top", "left", "bottom"]].set_visible(False)
    frames.spines["right"].set_color(FAINT)
    frames.tick_params(colors=INK, labelsize=9)
    both = [axes.get_legend_handles_labels(), frames.get_legend_handles_labels()]
    marks, names = ([one for part in which for one in part] for which in zip(*both, strict=True))
    legend_above(frames, (marks, names))


def legend_above(axes: Axes, entries: tuple[list[Any], list[Any]]) -> None:
    """Place the legend in one line above the axes."""
    axes.legend(
        *entries,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=max(1, len(entries[0])),
        frameon=False,
        fontsize=9,
    )


def draw_limit(axes: Axes, values_ms: ArrayLike, limit_ms: float) -> None:
    """Scale an axis for these values, and draw the limit for their p95.

    Args:
        axes: its y axis is scaled.
        values_ms: all values to draw; NaN values are ignored.
        limit_ms: the limit, also visible on the axis.
    """
    scale = DelayAxis.of(values_ms, limit_ms)
    axes.set_yscale("function", functions=(scale.forward, scale.inverse))
    axes.set_ylim(-0.04 * (scale.break_ms or scale.top_ms), scale.top_ms)
    axes.set_yticks(scale.ticks_ms(limit_ms))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.axhline(limit_ms, color=BAD, linewidth=1, linestyle=(0, (4, 3)), label="limit of the p95")
    if scale.break_ms is not None:
        axes.axhline(scale.break_ms, color=FAINT, linewidth=0.8, label="above this line the scale is coarser")


def _title(points: list[Criterion]) -> str:
    failed = [point.title for point in points if point.passed is False]
    if failed:
        return "Failed: " + ", ".join(failed)
    open_points = sum(point.passed is None for point in points)
    return "Every point holds" + (f", {open_points} not judged" if open_points else "")


def _draw_voices(axes: Axes, record: CallRecord, found: Measurements) -> None:
    """Draw the caller above the middle line, the bot below it, and gaps as red bars."""
    for samples, side, color, name in (
        (record.said_pcm, 1, CALLER, "caller"),
        (record.heard_pcm, -1, BOT, "bot, as heard"),
    ):
        at_s, peaks = _envelope(samples)
        peaks = peaks / max(float(peaks.max(initial=0)), _FAINTEST)
        axes.fill_between(at_s, side * 0.04, side * (0.04 + peaks), color=color, linewidth=0, label=name)
    for gap in found.gaps:
        begin_s = gap.heard_sample / PHONE_RATE_HZ
        long = gap.ms >= _HEARD_MS  # shorter ones are drawn as a tick at the edge
        width_s = max(gap.ms / 1000, 0.01)
        axes.axvspan(begin_s, begin_s + width_s, 0, 0.5 if long else 0.03, color=BAD, alpha=0.6, linewidth=0)
    axes.set_ylim(-1.15, 1.25)
    axes.set_yticks([])
    axes.set_ylabel("voices", color=INK)
    marks, names = axes.get_legend_handles_labels()
    if found.gaps:
        marks.append(Patch(color=BAD, alpha=0.6, linewidth=0))
        names.append(f"gap at the ear (under {_HEARD_MS:g} ms: a tick at the foot)")
    axes.legend(marks, names, loc="upper right", ncols=3, frameon=False, fontsize=9)


def _draw_delay(axes: Axes, found: Measurements) -> None:
    at_s = (np.arange(len(found.delay_ms)) + 1) * FRAME_MS / 1000
    by_order = found.delay_by != "order"
    drawn = np.concatenate((found.delay_ms, found.order_ms if by_order else []))
    draw_limit(axes, drawn, DELAY_MS)
    if by_order:
        axes.plot(at_s, found.order_ms, ".", color=FAINT, markersize=3, label="by order")
    axes.plot(at_s, found.delay_ms, ".", color=INK, markersize=5, label=f"by {found.delay_by}")
    legend_above(axes, axes.get_legend_handles_labels())
    if spread := Percentiles.of(found.delay_ms):
        words = f"p50 {spread.p50:.0f} ms    p95 {spread.p95:.0f} ms    max {spread.max:.0f} ms"
        axes.set_title(words, loc="left", fontsize=10, color=INK)
    axes.set_ylabel("mouth to ear (ms)", color=INK)


def _draw_buffers(axes: Axes, record: CallRecord, found: Measurements) -> None:
    """Draw the playout lead in ms (left) and the caller's unanswered frames (right).

    The backlog comes from the server, as in the checklist. Without the server's metrics the picture shows
    sent minus answered frames, which includes frames in transit.
    """
    axes.fill_between(found.lead_at_s, 0, found.lead_ms, step="post", color=BOT, alpha=0.35, linewidth=0)
    axes.plot(
        found.lead_at_s, found.lead_ms, drawstyle="steps-post", color=BOT, linewidth=1, label="playout lead"
    )
    axes.set_ylabel("playout lead (ms)", color=BOT)
    axes.set_ylim(0, max(100.0, float(found.lead_ms.max(initial=0)) * 1.15))
    frames = axes.twinx()
    if record.status_samples:
        at_s = [sample.at_s - record.began_s for sample in record.status_samples]
        unanswered = np.array([sample.backlog_frames for sample in record.status_samples], np.float64)
        name = f"frames unanswered, as the server says: {unanswered.max():.0f} at most"
        frames.plot(at_s, unanswered, ".-", color=CALLER, linewidth=1, markersize=3, label=name)
    else:
        unanswered = found.in_flight_frames
        name = "frames that had left and were not answered"
        frames.plot(found.lead_at_s, unanswered, ".", color=CALLER, markersize=3, label=name)
    frames.set_ylim(-0.15, max(BACKLOG_FRAMES, float(unanswered.max(initial=0)) * 1.15))
    dress_frames(axes, frames)


def _envelope(samples: Samples) -> tuple[NDArray[np.float64], Samples]:
    """Return times and peaks of the samples, one for each column of the picture."""
    piece = max(1, len(samples) // _COLUMNS)
    whole = samples[: len(samples) // piece * piece].reshape(-1, piece)
    return np.arange(len(whole)) * piece / PHONE_RATE_HZ, np.abs(whole).max(axis=1, initial=0)
