"""How many servers there are, and where. The command line is made from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class ClusterOptions:
    """Every field is an option of the command line: ``metadata["help"]`` is what ``--help`` says of it."""

    GROUP: ClassVar = "cluster"

    workers: int = field(
        default=2,
        metadata={
            "help": "How many servers to run, each a process with an engine of its own.",
            "min": 1,
            "max": 1000,
        },
    )
    worker_url: str | None = field(
        default=None,
        metadata={
            "help": "The public URL of each worker, with {name} (w1, w2, …), {host} or {port} in it, such as "
            "wss://{name}.phone.example.com or wss://phone.example.com/{name} (docs/cluster.md). With "
            "--tunnel each has a tunnel of its own.",
            "metavar": "TEMPLATE",
        },
    )
    worker_port: int = field(
        default=0,
        metadata={
            "help": "The port of w1; w2 has the next one, and so on. 0 takes free ones.",
            "min": 0,
            "max": 65535,
        },
    )
    ray_address: str | None = field(
        default=None,
        metadata={
            "help": "A Ray cluster that runs, HOST:PORT, in which servers outlive this command; without it "
            "one is started on this machine, and nobody else can reach it.",
            "metavar": "ADDRESS",
        },
    )
    gpus_per_worker: float = field(
        default=0.0, metadata={"help": "GPUs that Ray keeps for each worker.", "min": 0.0}
    )
    cpus_per_worker: float = field(
        default=0.0,
        metadata={"help": "Processors that Ray counts for each worker; 0 does not count them.", "min": 0.0},
    )
    spare_calls: int | None = field(
        default=None,
        metadata={
            "help": "Keep so many sessions free, by starting workers and ending those that are not needed; "
            "without it there are --workers.",
            "min": 1,  # with none free, nothing says that callers are refused, and none is started
        },
    )
    min_workers: int = field(
        default=1, metadata={"help": "How few there may be, with --spare-calls.", "min": 1}
    )
    max_workers: int = field(
        default=16, metadata={"help": "How many there may be, with --spare-calls.", "min": 1}
    )
    gateways: int = field(
        default=2,
        metadata={
            "help": "Processes that answer webhooks at --port; while one is gone the others do.",
            "min": 1,
            "max": 16,
        },
    )
    control_port: int = field(
        default=5003,
        metadata={
            "help": "The port of 127.0.0.1 at which the cluster takes update, scale and status.",
            "min": 0,
            "max": 65535,
        },
    )
