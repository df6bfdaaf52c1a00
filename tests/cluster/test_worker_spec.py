"""cluster/worker_spec.py: which settings belong to the workers, and which to the gateways."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

from moshi_phone.access.options import WebOptions
from moshi_phone.cluster.worker_spec import WorkerSpec
from moshi_phone.hooks.options import HookOptions
from moshi_phone.telephony.options import ReachOptions
from tests.cluster.local_cluster import settings

CLUSTER = replace(
    settings(),
    web=WebOptions(admin_port=5002),
    reach=ReachOptions(public_url="https://phone.example.com"),
    hooks=HookOptions(
        allow=("+1555*",), deny=("anonymous",), calls_per_caller_per_hour=3, on_end_folder=Path("ends")
    ),
)


def test_only_the_gateway_applies_rules_to_callers() -> None:
    own = WorkerSpec("w2", CLUSTER).own_settings(5003)
    assert (own.hooks.allow, own.hooks.deny, own.hooks.calls_per_caller_per_hour) == ((), (), 0)
    assert (own.web.admin_port, own.server.port) == (None, 5003)
    assert own.hooks.on_end_folder == Path("ends/w2"), "two workers would deliver the same report"
    assert own.engine == CLUSTER.engine


def test_a_stream_s_url_is_the_worker_s() -> None:
    template = "wss://{name}-{host}.example.com:{port}"
    own = WorkerSpec("w2", CLUSTER, url_template=template).own_settings(5003)
    assert own.reach.public_url == f"https://w2-{socket.gethostname()}.example.com:5003"
    assert (
        WorkerSpec("w2", CLUSTER).own_settings(5003).reach.public_url is None
    )  # or callers of all come to one
