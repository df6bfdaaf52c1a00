"""The cost of the taps: the line without taps, with the meter, and with all, interleaved in one run.

``uv run python -m benchmarks.taps`` prints a table: delay mouth to ear and CPU, by the callers of
``benchmarks.line``.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.line import OURS, SERVERS, Figures, measure
from benchmarks.serving import serving

NONE, METER, ALL = "no taps", "meter (the default)", "meter, recording, transcript"


def run(calls: int, secs: float, rounds: int) -> dict[str, Figures]:
    """Measure each set of taps, one after the other, ``rounds`` times."""
    with ExitStack() as stack:
        kept = stack.enter_context(TemporaryDirectory())
        options = {NONE: ["--no-meter"], METER: [], ALL: ["--record", kept, "--transcripts", kept]}
        servers = {
            name: stack.enter_context(serving(name, [*SERVERS[OURS], *more]))
            for name, more in options.items()
        }
        figures = {name: Figures() for name in servers}
        for number in range(rounds):
            for name, (port, server) in servers.items():
                print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
                figures[name].add(*measure(port, server, calls, secs))
    return figures


def table(figures: dict[str, Figures]) -> str:
    """Return the figures as Markdown."""
    lines = ["| taps | p50 ms | p95 ms | CPU ms per call-second | against none |", "|---|---|---|---|---|"]
    least = float(np.mean(figures[NONE].cpu_ms))
    for name, found in figures.items():
        p50, p95 = np.percentile(found.delays_ms, (50, 95))
        cpu_ms = float(np.mean(found.cpu_ms))
        lines.append(f"| {name} | {p50:.1f} | {p95:.1f} | {cpu_ms:.2f} | {cpu_ms / least - 1:+.1%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=8, help="how many calls at once")
    parser.add_argument("--secs", type=float, default=20, help="how long each call talks")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    arguments = parser.parse_args()
    print(f"$ python -m benchmarks.taps {' '.join(sys.argv[1:])}".rstrip())
    print(table(run(arguments.calls, arguments.secs, arguments.rounds)))
