"""A cluster compared with one process: mouth to ear, gaps and CPU, interleaved in one run.

``uv run --extra ray python -m benchmarks.cluster`` prints a table. For each call, ``/twiml`` is requested and
the stream that it names is opened; both servers mirror the caller in frames of 80 ms. Their rounds alternate,
and neighbouring rounds are compared, because the machine's other load changes from minute to minute by more
than the two differ.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import numpy as np
import psutil
from twilio.request_validator import RequestValidator

from benchmarks.callers import Heard, call
from benchmarks.serving import serving
from moshi_phone.runtime.ports import free_port

PUBLIC = "https://phone.example.com"
AUTH_TOKEN = "f" * 32
MIRROR = ("--engine", "parrot", "--parrot-delay", "0", "--log-level", "warning", "--public-url", PUBLIC)


@dataclass
class Line:
    """A running server: one process, or a cluster.

    Attributes:
        name: for the table.
        port: of the webhooks.
        hosts: the port that each host name of a stream's URL leads to.
        process: its first process.
        heard: the measurements of all callers, by round.
        cpu_ms: per call-second, by round.
        webhook_ms: duration of each webhook.
    """

    name: str
    port: int
    hosts: dict[str, int]
    process: psutil.Process
    heard: list[list[Heard]] = field(default_factory=list[list[Heard]])
    cpu_ms: list[float] = field(default_factory=list[float])
    webhook_ms: list[float] = field(default_factory=list[float])

    def connect(self, call_sid: str) -> tuple[str, dict[str, str]]:
        """Request the webhook; return the stream's URL on this machine, and its parameters."""
        form = {"CallSid": call_sid, "From": "+15551234567", "To": "+15550001111"}
        signature = RequestValidator(AUTH_TOKEN).compute_signature(f"{PUBLIC}/twiml", form)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/twiml",
            urllib.parse.urlencode(form).encode(),
            {"X-Twilio-Signature": signature},
        )
        began_s = time.perf_counter()
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310
            text = answer.read().decode()
        self.webhook_ms.append((time.perf_counter() - began_s) * 1000)
        (stream,) = ET.fromstring(text).iter("Stream")  # noqa: S314 - our own
        port = self.hosts[urlsplit(stream.attrib["url"]).hostname or ""]
        return f"ws://127.0.0.1:{port}/stream", {one.attrib["name"]: one.attrib["value"] for one in stream}

    def cpu_s(self) -> float:
        """Return the CPU time of all its processes."""
        times = [one.cpu_times() for one in (self.process, *self.process.children(recursive=True))]
        return sum(one.user + one.system for one in times)

    async def round(self, calls: int, secs: float, seed: int) -> None:
        """Run a number of simultaneous calls."""
        before_s = self.cpu_s()
        sids = [f"CA{seed + number:032x}" for number in range(calls)]
        led = [await asyncio.to_thread(self.connect, sid) for sid in sids]
        heard = await asyncio.gather(
            *(
                call(url, seed + number, secs, call_sid=sids[number], parameters=parameters)
                for number, (url, parameters) in enumerate(led)
            )
        )
        self.heard.append(heard)
        self.cpu_ms.append(1000 * (self.cpu_s() - before_s) / (calls * secs))

    def p50_ms(self) -> list[float]:
        """Return the median delay of each round."""
        return [
            float(np.median([delay for one in heard for delay in one.delays_ms if delay is not None]))
            for heard in self.heard
        ]

    def row(self) -> str:
        """Return the table's line."""
        heard = [one for each in self.heard for one in each]
        all_ms = [delay for one in heard for delay in one.delays_ms]
        delays_ms = [delay for delay in all_ms if delay is not None]
        p50, p95 = np.percentile(delays_ms, (50, 95))
        cells = (
            self.name,
            f"{p50:.1f}",
            f"{p95:.1f}",
            f"{len(all_ms) - len(delays_ms)} of {len(all_ms)}",
            f"{np.mean([one.gaps for one in heard]):.1f}",
            f"{np.mean(self.cpu_ms):.1f}",
            f"{np.median(self.webhook_ms):.0f}",
        )
        return "| " + " | ".join(cells) + " |"


@contextmanager
def running(name: str, port: int, hosts: dict[str, int], *arguments: str) -> Iterator[Line]:
    """Run one of the two servers while the block runs."""
    environment = {**os.environ, "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
    ready = f'"ready":{len(hosts)}' if len(hosts) > 1 else ""
    command = ["bot.py", *arguments, *MIRROR]
    with serving(name, command, port=port, ready=ready, environment=environment) as (_, process):
        yield Line(name, port, hosts, process)


@contextmanager
def both_running(workers: int) -> Iterator[tuple[Line, Line]]:
    """Run one process and a cluster with a number of workers while the block runs."""
    one_port, gateway_port, worker_port = free_port(), free_port(), free_port()
    hosts = {f"w{n}.example.com": worker_port + n - 1 for n in range(1, workers + 1)}
    spread = (
        *("cluster", "--workers", str(workers), "--worker-port", str(worker_port), "--control-port", "0"),
        *("--worker-url", "wss://{name}.example.com"),
    )
    with (
        running("one process", one_port, {"phone.example.com": one_port}) as one,
        running(f"cluster, {workers} workers", gateway_port, hosts, *spread) as cluster,
    ):
        yield one, cluster


async def pair(one: Line, cluster: Line, calls: int, secs: float) -> None:
    """Call both with the same number of callers; the first one alternates."""
    number = len(one.heard)
    for line in (one, cluster) if number % 2 else (cluster, one):
        await line.round(calls, secs, 1 + number * calls)


async def _main(arguments: argparse.Namespace) -> None:
    with both_running(arguments.workers) as (one, cluster):
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            await pair(one, cluster, arguments.calls, arguments.secs)
        print("| line | p50 ms | p95 ms | bursts lost | gaps a call | CPU ms per call-second | webhook ms |")
        print("|---|---|---|---|---|---|---|")
        print(one.row())
        print(cluster.row())
        more_ms = np.subtract(cluster.p50_ms(), one.p50_ms())
        each = ", ".join(f"{more:+.1f}" for more in more_ms)
        print(f"p50 against one process, round by round: {each}; median {np.median(more_ms):+.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--calls", type=int, default=6, help="how many calls at once")
    parser.add_argument("--secs", type=float, default=8, help="how long each call talks")
    parser.add_argument("--rounds", type=int, default=7, help="how often each line is measured")
    asyncio.run(_main(parser.parse_args()))
