"""Hours of calls under jitter, packet loss and clock skew: gaps, delay and cut speech.

``uv run python -m benchmarks.jitter > docs/jitter.md`` writes the page; it takes a minute or two. Time is
simulated, so every run gives the same results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product

from benchmarks.simulated_line import STEP_S, Conditions, Outcome, simulate

JITTERS_MS = (0, 10, 30, 50)
NETWORKS = {
    "nothing else": Conditions(),
    "1 % lost": Conditions(lost=0.01),
    "far clock 0.1 % fast": Conditions(fast=0.001),
    "far clock 0.1 % slow": Conditions(fast=-0.001),
    "far clock 0.5 % fast": Conditions(fast=0.005),
    "far clock 0.5 % slow": Conditions(fast=-0.005),
}
STALL_S, STALL_EVERY_FRAMES, FIRST_STALL_FRAME = 2.0, 7_500, 4_000  # every ten minutes

HEAD = """# The line under jitter, packet loss and clock skew

Made by `uv run python -m benchmarks.jitter > docs/jitter.md`. Time is simulated, so every run gives the same
results. Each message takes 30 ms plus a random time up to the jitter, each way, in order. With pauses, the
answer is silent for one second of every four; without, never. Lost packets are the caller's. The far clock
times the caller's packets and the playback of the answer. Gaps are those that the caller hears
(`moshi_phone/rehearse/playback.py`); the "metered" column has what the call's own metrics report.
Delay is mouth to ear, the mean of the first and of the last minute:
a frame of 80 ms, both directions of the network, 4 ms of the engine, and the playout lead."""

FOOT = """Every row has gaps below 0.5 % of the hour, no more of them in its second half than in its first
(to a tenth of a second), and no speech cut. The delay at the end is within 20 ms of that at the
beginning, with one exception: lost packets under an answer that never pauses. The caller then waited
for the longest run of lost packets so far (two or three in a row, 20 ms each), and only a pause could remove
that delay."""

STALLS = """## Four hours with a stall of 2 s every ten minutes, twice

The engine stops for 2 s, 24 times. It then drops what is older than 400 ms, so each stall is one
gap of 2 s, and the next pause removes the delay that is left in the buffer."""

COLUMNS = (
    "jitter ms",
    "answer",
    "network",
    "gaps %",
    "gaps s",
    "in 2nd half s",
    "metered s",
    "delay ms, first → last minute",
    "silence trimmed s",
    "speech cut s",
)


def hour(jitter_ms: float, pauses: bool, network: str, hours: float = 1.0) -> Outcome:
    """Simulate a call of an hour."""
    base = NETWORKS[network]
    return simulate(Conditions(hours, jitter_ms, pauses, base.lost, base.fast))


def four_hours(jitter_ms: float, hours: float = 4.0) -> Outcome:
    """Simulate a call of four hours in which the engine stalls for 2 s every ten minutes."""

    def step_s(frame: int) -> float:
        return STALL_S if frame % STALL_EVERY_FRAMES == FIRST_STALL_FRAME else STEP_S

    return simulate(Conditions(hours, jitter_ms, step_s=step_s))


def row(*first: str, outcome: Outcome) -> str:
    """Write one line of the table."""
    cells = [
        *first,
        f"{100 * outcome.gap_s / outcome.secs:.3f}",
        f"{outcome.gap_s:.2f}",
        f"{outcome.late_gap_s:.2f}",
        f"{outcome.metered_gap_s:.2f}",
        f"{outcome.first_delay_ms:.0f} → {outcome.last_delay_ms:.0f}",
        f"{outcome.trimmed_s:.2f}",
        f"{outcome.cut_s:g}",
    ]
    return "| " + " | ".join(cells) + " |"


def page() -> Iterator[str]:
    """Yield the lines of the page, each as soon as its call is simulated."""
    yield HEAD
    yield ""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|" + "---|" * len(COLUMNS)
    for pauses, network, jitter_ms in product((True, False), NETWORKS, JITTERS_MS):
        answer = "pauses" if pauses else "never pauses"
        yield row(str(jitter_ms), answer, network, outcome=hour(jitter_ms, pauses, network))
    yield ""
    yield FOOT
    yield ""
    yield STALLS
    yield ""
    yield "| jitter ms | run | " + " | ".join(COLUMNS[3:]) + " |"
    yield "|" + "---|" * (len(COLUMNS) - 1)
    for jitter_ms, run in product(JITTERS_MS, ("first", "second")):
        yield row(str(jitter_ms), run, outcome=four_hours(jitter_ms))


if __name__ == "__main__":
    for line in page():
        print(line)
        sys.stdout.flush()
