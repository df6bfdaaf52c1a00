"""Options for the number and placement of servers. The command line is generated from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class ClusterOptions:
    """Each field is a command-line option; ``metadata["help"]`` is its text in ``--help``."""

    GROUP: ClassVar = "cluster"

    workers: int = field(
        default=2,
        metadata={
            "help": "Number of workers; each is a process with its own engine.",
            "min": 1,
            "max": 1000,
        },
    )
    worker_url: str | None = field(
        default=None,
        metadata={
            "help": "Public URL of each worker, containing {name} (w1, w2, …), {host} or {port}, such as "
            "wss://{name}.phone.example.com or wss://phone.example.com/{name} (docs/cluster.md). "
            "With --tunnel each worker has its own tunnel.",
            "metavar": "TEMPLATE",
        },
    )
    worker_port: int = field(
        default=0,
        metadata={
            "help": "Port of w1; w2 has the next, and so on. 0 takes free ports.",
            "min": 0,
            "max": 65535,
        },
    )
    ray_address: str | None = field(
        default=None,
        metadata={
            "help": "HOST:PORT of a running Ray cluster, in which workers outlive this command. Default: "
            "start one on this machine, reachable from this machine only.",
            "metavar": "ADDRESS",
        },
    )
    gpus_per_worker: float = field(
        default=0.0, metadata={"help": "GPUs that Ray reserves for each worker.", "min": 0.0}
    )
    cpus_per_worker: float = field(
        default=0.0,
        metadata={"help": "CPUs that Ray reserves for each worker; 0 reserves none.", "min": 0.0},
    )
    spare_calls: int | None = field(
        default=None,
        metadata={
            "help": "Number of sessions to keep free (autoscaling). Default: a fixed number of --workers.",
            "min": 1,  # with 0, nothing would trigger a scale-up when calls are refused
        },
    )
    min_workers: int = field(
        default=1, metadata={"help": "Minimum number of workers with --spare-calls.", "min": 1}
    )
    max_workers: int = field(
        default=16, metadata={"help": "Maximum number of workers with --spare-calls.", "min": 1}
    )
    gateways: int = field(
        default=2,
        metadata={
            "help": "Number of processes that answer webhooks on --port.",
            "min": 1,
            "max": 16,
        },
    )
    control_port: int = field(
        default=5003,
        metadata={
            "help": "Port on 127.0.0.1 for cluster update, scale and status.",
            "min": 0,
            "max": 65535,
        },
    )
