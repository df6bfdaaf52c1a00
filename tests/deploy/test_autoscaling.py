"""deploy/kubernetes/autoscaling.yaml follows the rule of the cluster's own autoscaling."""

from __future__ import annotations

import math
import re

import promql_parser
import pytest

from moshi_phone.cluster.autoscaling import CALM_SECS, Autoscaler
from tests.deploy.test_deploy import names_of_samples
from tests.deploy.test_names import manifest

SPEC = manifest("ScaledObject")["spec"]
(TRIGGER,) = SPEC["triggers"]
SPARE_CALLS = int(re.findall(r"\+ (\d+)$", TRIGGER["metadata"]["query"])[0])


def test_it_queries_existing_metrics() -> None:
    query = TRIGGER["metadata"]["query"]
    promql_parser.parse(query)
    assert set(re.findall(r"moshi_\w+", query)) == {"moshi_sessions", "moshi_ready"} <= names_of_samples()


def test_the_threshold_is_the_calls_of_a_pod() -> None:
    (container,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    calls = container["args"][container["args"].index("--calls") + 1]
    assert TRIGGER["metadata"]["threshold"] == calls


@pytest.mark.parametrize("sessions", [0, 1, 2, 9, 10, 11, 40, 500])
def test_it_scales_to_as_many_pods_as_a_cluster_has_workers(sessions: int) -> None:
    assert TRIGGER["metricType"] == "AverageValue"  # the sum is shared out: pods = ceil(query / threshold)
    capacity = int(TRIGGER["metadata"]["threshold"])
    pods = math.ceil((sessions + SPARE_CALLS) / capacity)
    fewest, most = SPEC["minReplicaCount"], SPEC["maxReplicaCount"]
    ours = Autoscaler(SPARE_CALLS, fewest, most)
    assert min(max(pods, fewest), most) == ours.wanted(sessions, capacity, 0.0)


def test_it_waits_as_long_before_scaling_down() -> None:
    down = SPEC["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] == CALM_SECS


def test_it_scales_the_deployment() -> None:
    assert SPEC["scaleTargetRef"]["name"] == manifest("Deployment")["metadata"]["name"]
