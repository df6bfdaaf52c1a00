"""cluster/cluster_calls.py: a gateway reports all workers' calls by the same routes as a single server."""

from __future__ import annotations

from fastapi import FastAPI

from bot import run_call
from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.cluster.call_router import CallRouter
from moshi_phone.cluster.cluster_calls import ClusterCalls
from moshi_phone.cluster.cluster_history import ClusterHistory
from moshi_phone.cluster.gateway_app import create_gateway_app
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.app import create_app
from moshi_phone.server.web.calls_source import CallsSource
from moshi_phone.server.web.history_source import HistorySource
from moshi_phone.server.web.local_calls import LocalCalls
from moshi_phone.testing.engine import FakeEngine


async def nobody_refuses(_: object) -> None:
    return None


def cluster_calls(router: CallRouter) -> ClusterCalls:
    return ClusterCalls(router, lambda: None, dict)


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """Return all routes except the streams' with their method, also those of included routers."""
    found = {
        (method, path) for path, operations in FastAPI.openapi(app)["paths"].items() for method in operations
    }
    assert found
    return found


def test_a_gateway_has_every_route_of_a_server() -> None:
    """The routes used to be duplicated; only one copy ended at the end of all calls."""
    router = CallRouter(ServerState(FakeEngine()), nobody_refuses)
    page = ClusterHistory(HistorySource(ServerState(FakeEngine())), list, lambda: False)
    gateway = create_gateway_app(
        cluster_calls(router), page, router, StreamAuth(), DashboardAuth(), is_public=lambda: False
    )
    server = create_app(ServerState(FakeEngine()), run_call)
    assert routes(gateway) == routes(server)


async def test_an_empty_gateway_answers_as_an_empty_server() -> None:
    router = CallRouter(ServerState(FakeEngine()), nobody_refuses)
    local, cluster = LocalCalls(ServerState(FakeEngine())), cluster_calls(router)
    sources: list[CallsSource] = [local, cluster]
    for source in sources:
        assert await source.details("CA1") is None
        assert await source.update("CA1", 0) is None
        assert await source.say("CA1", "hello") is None
        assert await source.offers() == {"personas": [], "voices": []}
        assert not source.is_over()
        assert not (await source.status()).ready
        assert await source.running_calls() == []
    one, all_ = [await source.status() for source in sources]
    # Programs and the page read the same names from both.
    assert all_.overview().keys() - one.overview().keys() == {"workers"}
    assert all_.health(is_public=True).keys() - one.health(is_public=True).keys() == {"workers"}
