"""server/web/server_status.py: one status, as JSON for two kinds of readers."""

from __future__ import annotations

import json

import pytest
from prometheus_client.exposition import generate_latest

from moshi_phone.engines.duplex import BackendStatus
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.health import status_of
from moshi_phone.server.web.prometheus import metrics
from moshi_phone.server.web.server_status import LoadStatus, Phase, ServerStatus
from moshi_phone.testing.engine import FakeEngine

BACKENDS = (
    BackendStatus("gpu-1:8998", "moshi", calls=1, capacity=2, error=None),
    BackendStatus("gpu-2:8998", "moshi", calls=0, capacity=2, error="It does not answer: secret"),
)


@pytest.mark.parametrize(("is_public", "name"), [(True, "server 2"), (False, "gpu-2:8998")])
def test_strangers_read_neither_machine_names_nor_reasons(is_public: bool, name: str) -> None:
    status = ServerStatus(phase=Phase.ERROR, failure="secret", refusal="no", backends=BACKENDS)
    report = status.health(is_public=is_public)
    assert report["servers"][1] == {"name": name, "kind": "moshi", "up": False, "calls": 0, "capacity": 2}
    assert (report["ready"], report["error"]) == (False, "no")
    assert "secret" not in json.dumps(report)
    assert status.overview()["error"] == "secret"  # who has access reads it


def test_both_forms_are_json_and_agree() -> None:
    status = ServerStatus(
        phase=Phase.READY, engine="parrot", capacity=3, sessions=1, served=4, load=LoadStatus(lag_ms=1.26)
    )
    health, overview = (
        json.loads(json.dumps(form)) for form in (status.health(is_public=True), status.overview())
    )
    assert {name: health[name] for name in health.keys() & overview.keys() - {"error"}} == {
        name: overview[name] for name in health.keys() & overview.keys() - {"error"}
    }
    assert (health["load"]["lag_ms"], overview["state"]) == (1.3, "ready")
    assert "servers" not in health  # an engine that answers calls itself has none


async def test_the_metrics_agree_with_the_status() -> None:
    state = ServerState(FakeEngine(3))
    await state.engine.start(lambda _: None)
    state.engine.open_session()
    for closing, ready in ((None, 1.0), ("closing down", 0.0)):
        state.calls.closing = closing
        status = status_of(state)
        assert status.ready is bool(ready)
        text = generate_latest(metrics(state)).decode()
        for name, value in (
            ("moshi_ready", ready),
            ("moshi_sessions", status.sessions),
            ("moshi_capacity", status.capacity),
            ("moshi_calls_total", status.served),
        ):
            assert f"\n{name} {float(value)}\n" in text
