"""The report of ``bench`` on servers: whether they keep up with real time, and what delays an answer."""

from __future__ import annotations

from moshi_phone.engines.duplex import WIRE
from moshi_phone.engines.real_time_benchmark import TOLERATED_DROPS, Pace

SHARES = {"server": "in the server", WIRE: "on the wire", "opus": "in Opus"}
"""Parts of a step's delay, in the order of the report; the keys are those of a step's ``timings_ms``."""


def keeps_up(pace: Pace) -> bool:
    """Whether frames were answered, and (nearly) none dropped."""
    return pace.answers is not None and pace.dropped_frames <= TOLERATED_DROPS * pace.calls * pace.frames


def report_servers(pace: Pace) -> list[str]:
    """Format a measurement of servers; the last line is the verdict."""
    lines = [f"{'milliseconds':<14}{'p50':>8}{'p95':>8}{'max':>8}"]
    rows = [*pace.stages.items(), *([] if pace.answers is None else [("answer", pace.answers)])]
    lines += [f"{name:<14}{spread.p50:8.1f}{spread.p95:8.1f}{spread.max:8.1f}" for name, spread in rows]
    lines.append(f"{pace.dropped_frames} of {pace.calls * pace.frames} frames dropped")
    return [*lines, _verdict(pace)]


def _verdict(pace: Pace) -> str:
    if pace.answers is None:
        return f"Verdict: too slow: not one of {pace.frames} frames was answered."
    calls = f"{pace.calls} call{'s' if pace.calls > 1 else ''}"
    if not keeps_up(pace):
        return (
            f"Verdict: does not keep up with {calls}: {pace.dropped_frames} frames were dropped, "
            "because the servers were too far behind."
        )
    parts = ", ".join(
        f"{pace.stages[key].p50:.0f} {words}" for key, words in SHARES.items() if key in pace.stages
    )
    return (
        f"Verdict: keeps up with {calls}: an answer takes {pace.answers.p50:.0f} ms at p50 ({parts}), "
        f"{pace.answers.p95:.0f} at p95."
    )
