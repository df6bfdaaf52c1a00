"""Monitoring of a public server: a separate listener that no tunnel or proxy reaches."""

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
from moshi_phone.server.web.monitoring import CheckAccess, monitoring_router


def create_admin_app(calls: CallsSource, web: WebOptions) -> FastAPI:
    """Create the app of ``--admin-port``: ``/metrics``, ``/healthz`` and ``/calls`` only.

    On loopback, access is limited to this machine; DNS rebinding by a web page is refused. On another
    address, everyone who reaches it has access, as intended in a network of containers.

    Args:
        calls: source of the calls.
        web: contains ``--admin-host``.
    """
    app = bare_app("Moshi on the phone: monitoring")
    app.include_router(health_router(calls, lambda: False))  # not public: machine names are shown
    app.include_router(monitoring_router(calls, admin_check(web)))
    return app


def admin_check(web: WebOptions) -> CheckAccess:
    """Return the access check of ``--admin-port``, as a dependency of a route."""
    if is_loopback(web.admin_host):
        return DashboardAuth().check  # without options: no password, this machine only
    logger.warning(
        "--admin-host {}: anyone who reaches it sees the calls, without a password", web.admin_host
    )
    return _anybody


async def _anybody(_: HTTPConnection) -> None:
    pass
