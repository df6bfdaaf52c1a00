"""This line against pipecat's shipped one: mouth to ear, first audio, gaps and CPU, interleaved in one run.

``uv run python -m benchmarks.line`` prints a table. Both servers do the same work, a mirror in frames of
80 ms, in processes of their own; the callers are a third process, keep real time, and hear through a model
of Twilio's playout buffer (``rehearse/playback.py``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import psutil

from benchmarks.serving import ROOT, serving

OURS, SHIPPED = "this line", "pipecat as shipped"
SERVERS = {
    OURS: ["bot.py", "--engine", "parrot", "--parrot-delay", "0", "--log-level", "warning"],
    SHIPPED: ["-m", "benchmarks.shipped_line"],
}


@dataclass
class Figures:
    """Measurements of all calls of one line at one load."""

    delays_ms: list[float] = field(default_factory=list[float])
    lost: int = 0
    first_audio_ms: list[float] = field(default_factory=list[float])
    drift_ms: list[float] = field(default_factory=list[float])
    gaps: int = 0
    late_ms: float = 0.0
    cpu_ms: list[float] = field(default_factory=list[float])

    def add(self, calls: list[dict[str, object]], cpu_ms: float) -> None:
        """Add one round's calls, and the server's CPU time per call-second in it."""
        self.cpu_ms.append(cpu_ms)
        for call in calls:
            delays = [delay for delay in call["delays_ms"] if delay is not None]  # type: ignore[attr-defined]
            self.lost += len(call["delays_ms"]) - len(delays)  # type: ignore[arg-type]
            self.delays_ms += delays
            self.first_audio_ms.append(float(call["first_audio_ms"]))  # type: ignore[arg-type]
            sixth = max(1, len(delays) // 6)  # ten seconds of sixty
            self.drift_ms.append(float(np.mean(delays[-sixth:]) - np.mean(delays[:sixth])))
            self.gaps += int(call["gaps"])  # type: ignore[call-overload]
            self.late_ms = max(self.late_ms, float(call["late_ms"]))  # type: ignore[arg-type]

    def row(self) -> list[str]:
        """Return the table's cells."""
        p50, p95 = np.percentile(self.delays_ms, (50, 95))
        return [
            f"{p50:.0f}",
            f"{p95:.0f}",
            f"{np.median(self.first_audio_ms):.0f}",
            f"{self.lost} of {self.lost + len(self.delays_ms)}",
            f"{np.median(self.drift_ms):+.1f}",
            f"{self.gaps / len(self.drift_ms):.1f}",
            f"{np.mean(self.cpu_ms):.1f}",
            f"{self.late_ms:.1f}",
        ]


COLUMNS = [
    "calls",
    "line",
    "p50 ms",
    "p95 ms",
    "first audio ms",
    "bursts lost",
    "drift ms",
    "gaps a call",
    "CPU ms per call-second",
    "callers' own lateness ms",
]


def measure(
    port: int, server: psutil.Process, calls: int, secs: float
) -> tuple[list[dict[str, object]], float]:
    """Run a number of simultaneous calls; return their measurements, and CPU ms per call-second."""
    before = server.cpu_times()
    command = [sys.executable, "-m", "benchmarks.callers", "--port", str(port)]
    command += ["--calls", str(calls), "--secs", str(secs)]
    found = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    after = server.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")], (
        1000 * used_s / (calls * secs)
    )


def run(loads: list[int], secs: float, rounds: int) -> dict[tuple[int, str], Figures]:
    """Measure both lines at each load, one after the other, ``rounds`` times."""
    figures: dict[tuple[int, str], Figures] = {}
    with serving(OURS, SERVERS[OURS]) as ours, serving(SHIPPED, SERVERS[SHIPPED]) as shipped:
        for calls in loads:
            for number in range(rounds):
                for name, (port, server) in ((OURS, ours), (SHIPPED, shipped)):
                    print(f"{calls} calls, round {number + 1} of {rounds}: {name}", file=sys.stderr)
                    found = measure(port, server, calls, secs)
                    figures.setdefault((calls, name), Figures()).add(*found)
    return figures


def table(figures: dict[tuple[int, str], Figures]) -> str:
    """Write the figures as Markdown, and how the lines compare at each load."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for (calls, name), found in figures.items():
        lines.append("| " + " | ".join([str(calls), name, *found.row()]) + " |")
    lines.append("")
    for calls in sorted({calls for calls, _ in figures}):
        ours, shipped = figures[calls, OURS], figures[calls, SHIPPED]
        delay = np.percentile(shipped.delays_ms, 95) / np.percentile(ours.delays_ms, 95)
        cpu = np.mean(ours.cpu_ms) / np.mean(shipped.cpu_ms)
        at_once = "1 call" if calls == 1 else f"{calls} calls at once"
        lines.append(f"With {at_once}: p95 {delay:.1f} times shorter, {cpu:.2f} times the CPU.")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 8, 16], help="how many calls at once")
    parser.add_argument("--secs", type=float, default=60, help="how long each call talks")
    parser.add_argument("--rounds", type=int, default=1, help="how often each line is measured")
    arguments = parser.parse_args()
    print(f"$ python -m benchmarks.line {' '.join(sys.argv[1:])}".rstrip())
    print(table(run(arguments.calls, arguments.secs, arguments.rounds)))
