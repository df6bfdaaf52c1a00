"""The picture of a call: who spoke when, how late each answer was, and what lay in the buffers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from audio.formats import FRAME_MS, PHONE_RATE_HZ
from audio.spread import Spread
from rehearse.alignment import Samples
from rehearse.checks import DELAY_MS, Criterion, held
from rehearse.measure import Measurements
from rehearse.record import CallRecord

CALLER, BOT, INK, FAINT, BAD = "#2a6f97", "#e07a3f", "#222831", "#9aa3ab", "#c1272d"
_COLUMNS = 1600
_FAINTEST = 0.05
_HEARD_MS = 10.0


def draw(path: Path, record: CallRecord, found: Measurements, points: list[Criterion]) -> None:
    """Draw a call into a PNG.

    Args:
        path: of the picture.
        record: of the call.
        found: its measurements.
        points: its checklist; those that failed are named in the title.
    """
    figure = Figure(figsize=(12, 8), dpi=120, layout="constrained")
    voices, delay, buffers = figure.subplots(3, 1, sharex=True, height_ratios=(5, 4, 3))
    figure.suptitle(_title(points), color=INK if held(points) else BAD, fontsize=14, x=0.01, ha="left")
    _draw_voices(voices, record, found)
    _draw_delay(delay, found)
    _draw_buffers(buffers, record, found)
    buffers.set_xlabel("seconds since the start of the call", color=INK)
    buffers.set_xlim(0, max(record.secs, 0.1))
    for axes in (voices, delay, buffers):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.tick_params(colors=INK, labelsize=9)
    figure.savefig(path)


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
        long = gap.ms >= _HEARD_MS  # shorter ones are a tick at the edge
        width_s = max(gap.ms / 1000, 0.01)
        axes.axvspan(begin_s, begin_s + width_s, 0, 0.5 if long else 0.03, color=BAD, alpha=0.6, linewidth=0)
    axes.set_ylim(-1.15, 1.25)
    axes.set_yticks([])
    axes.set_ylabel("voices", color=INK)
    axes.legend(loc="upper right", ncols=2, frameon=False, fontsize=9)


def _draw_delay(axes: Axes, found: Measurements) -> None:
    at_s = (np.arange(len(found.delay_ms)) + 1) * FRAME_MS / 1000
    axes.axhline(DELAY_MS, color=BAD, linewidth=1, linestyle=(0, (4, 3)))
    if found.delay_by != "order":
        axes.plot(at_s, found.order_ms, ".", color=FAINT, markersize=3, label="by order")
    axes.plot(at_s, found.delay_ms, ".", color=INK, markersize=5, label=f"by {found.delay_by}")
    axes.legend(loc="upper right", ncols=2, frameon=False, fontsize=9)
    spread = Spread.of(found.delay_ms)
    top = DELAY_MS * 1.2
    if spread:
        top = max(top, min(spread.max, spread.p95 * 2) * 1.1)
        words = f"p50 {spread.p50:.0f} ms    p95 {spread.p95:.0f} ms    max {spread.max:.0f} ms"
        axes.set_title(words, loc="left", fontsize=10, color=INK)
    axes.set_ylim(-0.05 * top, top)
    axes.set_ylabel("answer's delay (ms)", color=INK)


def _draw_buffers(axes: Axes, record: CallRecord, found: Measurements) -> None:
    """Draw the playout lead in ms (left) and the frames on their way (right)."""
    axes.fill_between(found.lead_at_s, 0, found.lead_ms, step="post", color=BOT, alpha=0.35, linewidth=0)
    axes.plot(found.lead_at_s, found.lead_ms, drawstyle="steps-post", color=BOT, linewidth=1)
    axes.set_ylabel("playout lead (ms)", color=BOT)
    axes.set_ylim(0, max(100.0, float(found.lead_ms.max(initial=0)) * 1.15))
    frames = axes.twinx()
    frames.plot(found.lead_at_s, found.in_flight_frames, ".", color=CALLER, markersize=3)
    told_s = [told.at_s - record.began_s for told in record.told]
    frames.plot(told_s, [told.backlog_frames for told in record.told], color=CALLER, linewidth=1)
    frames.set_ylim(0, max(5.0, float(found.in_flight_frames.max(initial=0)) * 1.15))
    frames.set_ylabel("frames unanswered", color=CALLER)
    frames.spines[["top", "left", "bottom"]].set_visible(False)
    frames.spines["right"].set_color(FAINT)
    frames.tick_params(colors=INK, labelsize=9)


def _envelope(samples: Samples) -> tuple[NDArray[np.float64], Samples]:
    """Give the peaks of as many pieces as the picture has columns, and when they are."""
    piece = max(1, len(samples) // _COLUMNS)
    whole = samples[: len(samples) // piece * piece].reshape(-1, piece)
    return np.arange(len(whole)) * piece / PHONE_RATE_HZ, np.abs(whole).max(axis=1, initial=0)
