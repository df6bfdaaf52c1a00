"""deploy/: the files for Prometheus and Grafana match the samples of ``/metrics``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from moshi_phone.audio.histogram import Histogram
from moshi_phone.cluster.aggregate import merged_metrics
from moshi_phone.cluster.fleet import WorkerState
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.prometheus import metrics
from moshi_phone.testing.engine import FakeEngine

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana.json").read_text())
RULES = yaml.safe_load((DEPLOY / "moshi-phone.rules.yml").read_text())
SCRAPE = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
# What Grafana puts in, and Prometheus' own.
VARIABLES = {"$__rate_interval": "1m", "$__range": "6h", "$instance": ".*", "$worker": ".*"}
OF_PROMETHEUS = {"up"}


def names_of_samples() -> set[str]:
    """Return the name of every sample that ``/metrics`` may contain."""
    state = ServerState(FakeEngine())
    stage = Histogram()
    stage.add(10)
    state.calls.past.stages["fake"] = stage
    text = generate_latest(metrics(state)).decode()
    text = merged_metrics({"w1": text}, {"w1": WorkerState.READY}, {}).decode()
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (rule["expr"] for rule in rules())


@pytest.mark.parametrize("expression", list(expressions()))
def test_each_expression_is_valid_promql_on_existing_metrics(expression: str) -> None:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    promql_parser.parse(expression)
    asked = set(re.findall(r"\b(?:moshi_\w+|process_\w+|up)\b", expression))
    assert asked
    assert asked <= names_of_samples() | OF_PROMETHEUS


def test_each_of_four_alerts_names_a_remedy() -> None:
    assert [rule["alert"] for rule in rules()] == [
        "MoshiPhoneDown",
        "MoshiPhoneSlow",
        "MoshiPhoneLosesCallers",
        "MoshiPhoneSilent",
    ]
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_a_worker_that_takes_no_calls_raises_no_alert_while_others_do() -> None:
    """A cluster has one ``moshi_ready`` per worker; during an update some are 0."""
    asked = [expression for expression in expressions() if "moshi_ready" in expression]
    assert len(asked) == 2
    assert all("max by (instance) (moshi_ready" in expression for expression in asked)


def test_prometheus_loads_the_rules_and_scrapes_the_admin_port() -> None:
    assert SCRAPE["rule_files"] == ["moshi-phone.rules.yml"]
    (job,) = SCRAPE["scrape_configs"]
    assert f'job="{job["job_name"]}"' in rules()[0]["expr"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:5002"]}]


def test_panels_do_not_overlap_and_have_descriptions() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["title"]
        assert panel["description"].endswith(".")
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
