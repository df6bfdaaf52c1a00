"""Hours of calls under jitter, loss and clocks that differ: gaps at the ear, delay, what was cut.

``uv run python -m benchmarks.jitter > docs/jitter.md`` writes the page; it takes a minute or two. Time is
simulated, so every run of it gives the same.
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

HEAD = """# The line under jitter, loss and clocks that differ

Made by `uv run python -m benchmarks.jitter > docs/jitter.md`; calls in simulated time, so every run gives the
same. Each message takes 30 ms and up to so much jitter, each way, in order. With pauses, the answer is silent
for one second of every four; without, it never is. Lost packets are the caller's, and never come. The far
clock sends the caller's packets and plays the answer. Gaps are the ear's
(`moshi_phone/rehearse/playback.py`); beside them stands what the call's own metrics say.
Delay is mouth to ear, mean of the first and of the last minute:
a frame of 80 ms, both ways of the network, the engine's 4 ms, and the cushion."""

FOOT = """Every row has gaps below 0.5 % of the hour, no more of them in its second half than in its first
(to a tenth of a second), and no speech cut. The delay at the end is within 20 ms of the
beginning but for one kind of row: packets lost under an answer that never pauses. There the ear had to wait
for the longest run of lost packets so far (two or three in a row, 20 ms each), and only a pause could give
that back."""

STALLS = """## Four hours with a stall of 2 s every ten minutes, twice

The engine stands still for 2 s, 24 times. It drops what is older than 400 ms by then, so each stall is one
gap of 2 s, and what it leaves in the buffer, the next pause takes out."""

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
    """Hold an hour's call."""
    base = NETWORKS[network]
    return simulate(Conditions(hours, jitter_ms, pauses, base.lost, base.fast))


def four_hours(jitter_ms: float, hours: float = 4.0) -> Outcome:
    """Hold a call of four hours in which the engine stalls for 2 s every ten minutes."""

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
    """Write the page, line by line, as the calls are held."""
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
