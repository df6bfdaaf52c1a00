"""A gateway's HTTP app: Twilio's webhooks, and a server's routes over all workers."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.cluster.call_router import CallRouter
from moshi_phone.server.web.bare_app import bare_app
from moshi_phone.server.web.browser_phone import browser_phone_router
from moshi_phone.server.web.calls_page import CallsPage
from moshi_phone.server.web.calls_source import CallsSource
from moshi_phone.server.web.health import health_router
from moshi_phone.server.web.history import history_router
from moshi_phone.server.web.monitoring import monitoring_router
from moshi_phone.server.web.say import say_router
from moshi_phone.telephony.webhooks import CallAnswers, webhooks

_CONNECT_TO = "'self' ws: wss:"  # the page's streams go to the workers, which are other origins


def create_gateway_app(
    calls: CallsSource,
    page: CallsPage,
    router: CallRouter,
    stream_auth: StreamAuth,
    dashboard_auth: DashboardAuth,
    *,
    is_public: Callable[[], bool],
) -> FastAPI:
    """Create the app of one gateway.

    Args:
        calls: the calls of all workers.
        page: the same for the Calls page.
        router: routes each call to a worker.
        stream_auth: verifies Twilio's signatures.
        dashboard_auth: access control of the dashboard.
        is_public: whether other machines can reach the gateway.
    """
    app = bare_app("Moshi on the phone")
    app.include_router(health_router(calls, is_public))
    app.include_router(
        webhooks(
            stream_auth,
            router.refusals,
            CallAnswers(
                incoming=router.answer,
                after_transfer=router.after_transfer,
                after_stream=router.next_step,
                after_message=router.after_message,
                whisper=router.whisper,
            ),
            router.note_status,
            remembered=router.remembered,
        )
    )
    app.include_router(monitoring_router(calls, dashboard_auth.check))
    app.include_router(say_router(calls, dashboard_auth.check))
    app.include_router(browser_phone_router(calls, dashboard_auth, _CONNECT_TO))
    app.include_router(history_router(page, dashboard_auth))
    return app
