"""CPU time of a call's echo detection and conversation analysis: the real line with and without each.

``uv run python -m benchmarks.measures`` runs servers in turns: one with both, which also times them, and one
without each. The calls have no echo: those of ``benchmarks.line``. It prints the processor time of a
server for a second of a call, and the share of each. The shares of single rounds differ less than
the servers' times do; ``--timed-only`` runs the first server alone. ``--model DIR`` has Moshi answer, with
random weights and the real codec, in place of the parrot, whose calls cost next to nothing but the line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.line import OURS, SERVERS, measure
from benchmarks.serving import serving
from benchmarks.table import head, row
from benchmarks.timed_line import CONVERSATION, ECHO

BOTH = "none"
_PARTS = {ECHO: "echo detection", CONVERSATION: "conversation analysis"}
_NAMES = {BOTH: "both", **{part: f"without {name}" for part, name in _PARTS.items()}}


@dataclass
class Costs:
    """Processor time for a second of a call, in ms, by round.

    Attributes:
        cpu_ms: of the server, by the part that it leaves out.
        timed_ms: of each part, in the server with both.
    """

    cpu_ms: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    timed_ms: dict[str, list[float]] = field(default_factory=lambda: {ECHO: [], CONVERSATION: []})

    def share(self, part: str) -> float:
        """Return a part's share of the server's processor time, as timed in it: 0 to 1."""
        return sum(self.timed_ms[part]) / sum(self.cpu_ms[BOTH])

    def table(self) -> str:
        """Write the costs as Markdown."""
        lines = [*head("the line with", "CPU ms per call-second, least", "median")]
        for left_out, cpu_ms in self.cpu_ms.items():
            lines.append(row(_NAMES[left_out], f"{min(cpu_ms):.2f}", f"{median(cpu_ms):.2f}"))
        lines += ["", *head("part", "its own CPU ms per call-second", "share of the line")]
        for name, timed_ms in self.timed_ms.items():
            lines.append(row(_PARTS[name], f"{sum(timed_ms) / len(timed_ms):.2f}", f"{self.share(name):.1%}"))
        return "\n".join(lines)


def run(
    calls: int,
    secs: float,
    rounds: int,
    left_out: tuple[str, ...] = tuple(_NAMES),
    options: Sequence[str] = SERVERS[OURS][1:],
) -> Costs:
    """Measure a server without each of these parts, in turns, after one round that is not counted.

    Args:
        calls: number of calls at once.
        secs: how long each call talks.
        rounds: how often each server is measured.
        left_out: a server for each of these parts.
        options: of ``bot.py``.
    """
    costs = Costs({name: [] for name in left_out})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        servers = {
            name: stack.enter_context(
                serving(name, ["-m", "benchmarks.timed_line", name, str(folder / name), *options])
            )
            for name in left_out
        }
        before = dict.fromkeys(costs.timed_ms, 0.0)
        for number in range(rounds + 1):
            for name, (port, server) in servers.items():
                print(f"round {number} of {rounds}: {_NAMES[name]}", file=sys.stderr)
                _, cpu_ms = measure(port, server, calls, secs)
                if number:
                    costs.cpu_ms[name].append(cpu_ms)
            spent_s = json.loads((folder / BOTH).read_text(encoding="utf-8"))
            for name, timed_ms in costs.timed_ms.items():
                if number:
                    timed_ms.append(1000 * (spent_s[name] - before[name]) / (calls * secs))
            before = spent_s
    return costs


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=8, help="how many calls at once")
    parser.add_argument("--secs", type=float, default=20, help="how long each call talks")
    parser.add_argument("--rounds", type=int, default=3, help="how often each server is measured")
    parser.add_argument("--timed-only", action="store_true", help="only the server with both")
    parser.add_argument("--model", help="Moshi with this model in place of the parrot")
    arguments = parser.parse_args()
    engine = ("--engine", "moshi", "--model", arguments.model, "--log-level", "warning")
    measured = (BOTH,) if arguments.timed_only else tuple(_NAMES)
    print(f"$ python -m benchmarks.measures {' '.join(sys.argv[1:])}".rstrip())
    options = engine if arguments.model else SERVERS[OURS][1:]
    print(run(arguments.calls, arguments.secs, arguments.rounds, measured, options).table())
