"""Monitoring while the server is public: a listener of its own, which no tunnel or proxy leads to."""

from __future__ import annotations

from fastapi import FastAPI
from loguru import logger
from starlette.requests import HTTPConnection

from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.access.options import WebOptions
from moshi_phone.access.source import is_loopback
from moshi_phone.server.web.bare_app import bare_app
from moshi_phone.server.web.calls_source import CallsSource
from moshi_phone.server.web.health import health_router
from moshi_phone.server.web.monitoring import Check, monitoring_router


def create_admin_app(calls: CallsSource, web: WebOptions) -> FastAPI:
    """Make the app of ``--admin-port``: ``/metrics``, ``/healthz`` and ``/calls``, and nothing else.

    On loopback only this machine may look, and no web page by a name that it has bent to this address. On
    another address, whoever reaches it may: that is what it is set for, as in a network of containers.

    Args:
        calls: those that there are.
        web: has ``--admin-host``.
    """
    app = bare_app("Moshi on the phone: monitoring")
    app.include_router(health_router(calls, lambda: False))
    app.include_router(monitoring_router(calls, admin_check(web)))
    return app


def admin_check(web: WebOptions) -> Check:
    """Give what lets people look at ``--admin-port``, as a dependency of a route."""
    if is_loopback(web.admin_host):
        return DashboardAuth().check
    logger.warning(
        "--admin-host {}: anyone who reaches it sees the calls, without a password", web.admin_host
    )
    return _anybody


async def _anybody(_: HTTPConnection) -> None:
    pass
