"""The Ray runtime without Ray, which is an extra."""

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


def test_without_ray_the_error_names_the_remedy() -> None:
    with pytest.raises(SettingsError, match="uv run --extra ray"), ray_running(None):
        raise AssertionError("it runs")


def test_a_local_cluster_listens_on_loopback_only() -> None:
    with pytest.raises(SettingsError), ray_running(None):
        pass
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_no_token_is_set_for_a_ray_cluster_that_already_runs() -> None:
    with pytest.raises(SettingsError), ray_running("10.0.0.1:6379"):
        pass
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
