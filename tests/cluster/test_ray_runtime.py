"""Ray's part without Ray, which is an extra."""

from __future__ import annotations

import os
import sys

import pytest

from moshi_phone.cluster.ray_runtime import ray_running
from moshi_phone.server.settings import SettingsError


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_the_remedy_is_named_where_it_is_not_installed() -> None:
    with pytest.raises(SettingsError, match="uv run --extra ray"), ray_running(None):
        raise AssertionError("it runs")


def test_a_cluster_of_this_machine_alone_lets_nobody_else_in() -> None:
    with pytest.raises(SettingsError), ray_running(None):
        pass
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_one_that_runs_already_has_its_own_rules() -> None:
    with pytest.raises(SettingsError), ray_running("10.0.0.1:6379"):
        pass
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
