from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from moshi_phone.rehearse.checks import DELAY_MS, CallContext, check
from moshi_phone.rehearse.measure import measure
from moshi_phone.rehearse.picture import compose
from moshi_phone.rehearse.record import CallRecord, StatusSample
from tests.rehearse import simulated

SUBTITLE = "parrot · 2026-01-31 12:30 UTC · Linux x, 2 cores · version 1.2.3"


def composed(record: CallRecord) -> tuple[list[Axes], list[str]]:
    """Return the axes of a call's picture, and the text above them."""
    found = measure(record, repeats_after_ms=0)
    figure = compose(record, found, check(CallContext(), record, found), SUBTITLE)
    return figure.axes, [text.get_text() for text in figure.texts]


def named(axes: Axes) -> set[str]:
    legend = axes.get_legend()
    return {text.get_text() for text in legend.get_texts()} if legend else set()


def told(record: CallRecord, *backlogs: int) -> CallRecord:
    record.status_samples = [
        StatusSample(record.began_s + 1 + number, backlog, 40, 0, 0)
        for number, backlog in enumerate(backlogs)
    ]
    return record


def test_every_mark_is_labelled_and_the_title_names_the_source() -> None:
    (voices, delay, _, frames), texts = composed(told(simulated.call(simulated.stalls_once), 0, 3, 1))
    assert SUBTITLE in texts
    assert {"caller", "bot, as heard"} < named(voices)
    assert any(name.startswith("gap at the ear") for name in named(voices))
    assert named(delay) == {"limit of the p95", "by order", "by content"}
    assert named(frames) == {"playout lead", "frames unanswered, as the server says: 3 at most"}


def test_the_unanswered_frames_agree_with_the_checklist() -> None:
    record = told(simulated.call(simulated.mirror), 0, 4, 2)
    found = measure(record, repeats_after_ms=0)
    (keeps_up,) = (point for point in check(CallContext(), record, found) if point.key == "keeps_up")
    (*_, frames), _ = composed(record)
    (line,) = frames.get_lines()
    assert np.max(line.get_ydata()) == keeps_up.numbers["backlog_frames"] == 4
    record.status_samples = []
    (*_, frames), _ = composed(record)
    assert named(frames) == {"playout lead", "frames that had left and were not answered"}


def test_a_good_call_s_delays_and_the_limit_are_drawn() -> None:
    (_, delay, *_), _ = composed(simulated.call(simulated.mirror))
    assert "above this line the scale is coarser" in named(delay)
    assert DELAY_MS in delay.get_yticks()
    bottom, top = delay.get_ylim()
    assert bottom < 0 < DELAY_MS < top
