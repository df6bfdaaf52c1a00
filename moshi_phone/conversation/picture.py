"""The picture of a conversation: both voices, responses, interruptions and silences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from moshi_phone.conversation.conversation import (
    backchannels_of,
    interruptions_of,
    pauses_of,
    responses_of,
)
from moshi_phone.conversation.criteria import RESPONSE_MS, SILENCE_S, STOP_MS
from moshi_phone.conversation.events import Event
from moshi_phone.conversation.report import headline
from moshi_phone.conversation.review import Reviewed
from moshi_phone.conversation.span import Span, gaps

CALLER, BOT, INK, SOFT, FAINT, BAD, GOOD = (
    "#2a6f97",
    "#e07a3f",
    "#222831",
    "#5d676b",
    "#9aa3ab",
    "#c1272d",
    "#2b7a4b",
)
_ROW_S = 45.0  # for short calls; longer calls have longer rows
_MAX_ROWS = 8
_LABELS_UP_TO_S = 150.0  # longer rows have no room for labels
_SILENT_S = 3.0  # silences from here on are shaded
_WIDTH_IN, _ROW_IN, _REST_IN = 13.0, 1.35, 2.9
_WORD_CHARS_A_ROW = 190


def draw(path: Path, call: Reviewed) -> None:
    """Draw a call into a PNG; see ``compose``."""
    compose(call).savefig(path)


def compose(call: Reviewed) -> Figure:
    """Draw a call: rows of time with both voices, and histograms of response and stop times below."""
    secs = max(call.voices.until_s, 1.0)
    rows = min(_MAX_ROWS, math.ceil(secs / _ROW_S))
    row_s = _row_length(secs / rows)
    rows = math.ceil(secs / row_s)
    has_words = bool(call.facts.words) and row_s <= _LABELS_UP_TO_S
    row_in = _ROW_IN + (0.35 if has_words else 0.0)
    figure = Figure(figsize=(_WIDTH_IN, rows * row_in + _REST_IN), dpi=110, layout="constrained")
    grid = figure.add_gridspec(rows + 1, 2, height_ratios=[*[row_in] * rows, 1.5])
    failed = [point.title for point in call.criteria if point.passed is False]
    figure.suptitle(headline(call.talked), color=BAD if failed else INK, fontsize=13, x=0.01, ha="left")
    for row in range(rows):
        axes = figure.add_subplot(grid[row, :])
        _draw_row(axes, call, Span(row * row_s, (row + 1) * row_s))
        if row == 0:
            _legend(axes)
            axes.set_title(call.facts.line_of_text or call.facts.name, loc="left", fontsize=9, color=SOFT)
    _draw_times(
        figure.add_subplot(grid[rows, 0]),
        [response.gap_ms for response in responses_of(list(call.events))],
        RESPONSE_MS,
        "response: ms after the caller's end",
        "no response to time",
    )
    _draw_times(
        figure.add_subplot(grid[rows, 1]),
        [one.stop_ms for one in interruptions_of(list(call.events)) if one.stop_ms is not None],
        STOP_MS,
        "interruption: ms until the bot stops",
        "no interruption to time",
    )
    return figure


def _row_length(secs: float) -> float:
    """Round up to a length with round tick values."""
    for step in (10, 15, 20, 30, 45, 60, 90, 120, 300, 600, 900, 1200, 1800, 3600):
        if secs <= step:
            return float(step)
    return math.ceil(secs / 3600) * 3600.0


def _draw_row(axes: Axes, call: Reviewed, row: Span) -> None:
    axes.set_xlim(row.begin_s, row.end_s)
    axes.set_ylim(-1.75, 1.6)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=SOFT, labelsize=8)
    axes.xaxis.set_major_formatter(lambda at_s, _: _clock(at_s))
    axes.axhline(0, color=FAINT, linewidth=0.5)
    if call.voices.until_s < row.end_s:
        axes.axvspan(call.voices.until_s, row.end_s, color="#f1f2f3", linewidth=0)
    for silence in gaps(sorted([*call.voices.caller, *call.voices.bot]), call.voices.until_s):
        if silence.secs >= _SILENT_S and _touches(silence, row):
            bad = silence.secs > SILENCE_S
            axes.axvspan(*silence, color=BAD if bad else FAINT, alpha=0.16, linewidth=0)
            if row.secs <= _LABELS_UP_TO_S and row.begin_s <= sum(silence) / 2 <= row.end_s:
                words = f"{silence.secs:.0f} s of silence"
                axes.text(sum(silence) / 2, 0.05, words, fontsize=8, color=BAD if bad else SOFT, ha="center")
    sides = ((0, 1, CALLER, call.voices.caller), (1, -1, BOT, call.voices.bot))
    for side, up, color, segments in sides:
        spoken = [span for span in segments if _touches(span, row)]
        axes.broken_barh(
            [(span.begin_s, span.secs) for span in spoken], (0.04 * up, up), color=color, alpha=0.22
        )
        peaks = call.sound.peaks(side)
        at_s = np.arange(len(peaks)) * call.sound.column_s
        inside = (at_s >= row.begin_s - 1) & (at_s <= row.end_s + 1)
        loudest = max(float(peaks.max(initial=0)), 0.05)
        heights = up * (0.04 + 0.96 * peaks[inside] / loudest)
        axes.fill_between(at_s[inside], up * 0.04, heights, color=color, linewidth=0, step="mid")
    _draw_events(axes, call, row)
    _draw_echo(axes, call, row)
    if row.secs <= _LABELS_UP_TO_S:
        _draw_words(axes, call, row)


def _draw_events(axes: Axes, call: Reviewed, row: Span) -> None:
    events, labels = list(call.events), row.secs <= _LABELS_UP_TO_S
    for response in responses_of(events):
        if not row.begin_s <= response.at_s < row.end_s:
            continue
        color = GOOD if response.gap_ms <= RESPONSE_MS else BAD
        end_s = response.at_s + response.gap_ms / 1000
        if labels:
            axes.plot([response.at_s, end_s], [0, 0], color=color, linewidth=3, solid_capstyle="butt")
            axes.text(end_s, -1.12, f"{response.gap_ms:.0f}", fontsize=8, color=color, ha="center", va="top")
        else:
            axes.plot(response.at_s, -1.2, "|", color=color, markersize=5)
    for one in interruptions_of(events):
        if not row.begin_s <= one.at_s < row.end_s:
            continue
        good = one.yielded and one.stop_ms is not None and one.stop_ms <= STOP_MS
        axes.plot([one.at_s, one.at_s], [-1, 1.05], color=GOOD if good else BAD, linewidth=1)
        if labels:
            words = "not stopped" if not one.yielded else f"stops after {one.stop_ms:.0f}"
            axes.text(one.at_s, 1.1, f"interrupts: {words}", fontsize=8, color=GOOD if good else BAD)
        else:
            axes.plot(one.at_s, 1.2, "v", color=GOOD if good else BAD, markersize=3)
    _draw_small_events(axes, events, row, labels=labels)


def _draw_echo(axes: Axes, call: Reviewed, row: Span) -> None:
    echo = call.facts.echo
    if echo is None or not row.begin_s <= echo.at_s < row.end_s:
        return
    color = INK if echo.removed_db else BAD
    axes.axvline(echo.at_s, color=color, linewidth=1, linestyle=(0, (4, 3)))
    at_left = echo.at_s < sum(row) / 2
    axes.text(
        echo.at_s,
        0.8,
        f" {echo.label} ",
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1},
        fontsize=8,
        color=color,
        ha="left" if at_left else "right",
        va="center",
        clip_on=True,
    )


def _draw_small_events(axes: Axes, events: list[Event], row: Span, *, labels: bool) -> None:
    for pause in pauses_of(events):
        if pause.taken and row.begin_s <= pause.at_s < row.end_s:
            axes.plot(pause.at_s + pause.secs / 2, 0.5, "x", color=BAD, markersize=7)
            if labels:
                axes.text(pause.at_s, 1.1, "pause taken", fontsize=8, color=BAD)
    for backchannel in backchannels_of(events):
        if labels and row.begin_s <= backchannel.at_s < row.end_s:
            color = BAD if backchannel.stopped else GOOD
            words = "backchannel: it stops" if backchannel.stopped else "backchannel"
            axes.text(backchannel.at_s, 1.1, words, fontsize=8, color=color)


def _draw_words(axes: Axes, call: Reviewed, row: Span) -> None:
    for speaker, color, y in (("caller", CALLER, 1.45), ("bot", BOT, -1.58)):
        lines = [line for line in call.facts.words if line.speaker == speaker]
        for line, following in zip_longest(lines, lines[1:]):
            if not row.begin_s <= line.at_s < row.end_s:
                continue
            end_s = min(row.end_s, following.at_s if following else row.end_s)
            room = int((end_s - line.at_s) / row.secs * _WORD_CHARS_A_ROW)
            text = line.text if len(line.text) <= room else line.text[: max(0, room - 1)] + "…"
            axes.text(line.at_s, y, text, fontsize=7, color=color, va="center", clip_on=True)


def _draw_times(axes: Axes, times_ms: Sequence[float], limit_ms: float, words: str, none: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=SOFT, labelsize=8)
    axes.set_xlabel(words, fontsize=9, color=INK)
    if not times_ms:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, none, fontsize=9, color=SOFT, ha="center", transform=axes.transAxes)
        return
    low, high = min(0.0, *times_ms), max(1.5 * limit_ms, *times_ms)
    counts, edges = np.histogram(times_ms, bins=np.linspace(low, high * 1.0001, 37))
    colors = [GOOD if edge < limit_ms else BAD for edge in edges[:-1]]
    axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=colors, alpha=0.75)
    axes.axvline(limit_ms, color=BAD, linewidth=1, linestyle=(0, (4, 3)))
    median_ms = float(np.median(times_ms))
    axes.axvline(median_ms, color=INK, linewidth=1)
    axes.set_title(
        f"median {median_ms:.0f} ms of {len(times_ms)}, limit {limit_ms:.0f} ms",
        loc="left",
        fontsize=9,
        color=INK,
    )
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _legend(axes: Axes) -> None:
    marks = [Patch(color=CALLER), Patch(color=BOT), Patch(color=FAINT, alpha=0.3)]
    axes.legend(
        marks,
        ["caller", "bot, as heard; below: response in ms", f"silence from {_SILENT_S:.0f} s on"],
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=3,
        frameon=False,
        fontsize=8,
    )


def _touches(span: Span, row: Span) -> bool:
    return span.begin_s < row.end_s and span.end_s > row.begin_s


def _clock(at_s: float) -> str:
    hours, rest = divmod(round(at_s), 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"
