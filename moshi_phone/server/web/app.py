"""The server's app: the WebSocket endpoint for calls, webhooks, monitoring and pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI, WebSocket
from loguru import logger

from moshi_phone.access.public_address import STREAM_PATH
from moshi_phone.server.calls.draining import hang_up_all
from moshi_phone.server.calls.incoming import after_message, after_transfer, answer_call, expect_overrides
from moshi_phone.server.calls.next_step import next_step, note_hung_up
from moshi_phone.server.calls.not_taken import no_stream
from moshi_phone.server.calls.state import RunCall, ServerState
from moshi_phone.server.calls.stream import handle_stream
from moshi_phone.server.calls.whisper import whisper
from moshi_phone.server.startup import watching
from moshi_phone.server.web.bare_app import bare_app
from moshi_phone.server.web.browser_phone import browser_phone_router
from moshi_phone.server.web.health import health_router
from moshi_phone.server.web.history import history_router
from moshi_phone.server.web.history_source import HistorySource
from moshi_phone.server.web.local_calls import LocalCalls
from moshi_phone.server.web.monitoring import monitoring_router
from moshi_phone.server.web.say import say_router
from moshi_phone.telephony.media_stream import Start
from moshi_phone.telephony.webhooks import ENDED, CallAnswers, OnStatus, webhooks


def create_app(state: ServerState, run_call: RunCall, on_status: OnStatus | None = None) -> FastAPI:
    """Create the server's app. The caller starts and stops the engine.

    Args:
        state: shared state of the server.
        run_call: runs one call to its end (``bot.run_call``).
        on_status: called with the call's SID and each status that Twilio reports.
    """
    app = bare_app("Moshi on the phone", lifespan=lambda _: _running(state))
    calls, check = LocalCalls(state), state.dashboard_auth.check

    def note_status(call_sid: str, status: str) -> None:
        if status in ENDED:
            _note_end(call_sid, state)
        if on_status:
            on_status(call_sid, status)

    app.include_router(health_router(calls, state.is_public))
    app.include_router(
        webhooks(
            replace(state.auth, address=state.webhooks),  # Twilio signs the URL of the webhook
            state.refusals,
            _answers(state),
            note_status,
            line_number=lambda: state.line_number,
        )
    )

    # these four check access, unlike /healthz and the webhooks, which have checks of their own
    app.include_router(monitoring_router(calls, check))
    app.include_router(say_router(calls, check))
    app.include_router(browser_phone_router(calls, state.dashboard_auth))
    app.include_router(history_router(HistorySource(state), state.dashboard_auth))

    @app.websocket(STREAM_PATH)
    async def stream(websocket: WebSocket) -> None:
        """Handle one Media Stream, which is one call."""
        await websocket.accept()  # before any check, because the start message carries the token
        peer = websocket.client.host if websocket.client else None

        def admit(start: Start) -> None:
            # raises StreamRefused
            state.auth.admit(start.call_sid, start.custom_parameters, websocket.headers, peer)
            state.reservations.release(start.call_sid)  # the stream has started and takes a session itself
            expect_overrides(start, state)

        await handle_stream(websocket, state, run_call, admit)

    return app


@asynccontextmanager
async def _running(state: ServerState) -> AsyncIterator[None]:
    async with watching(state.engine):  # ends before the engine is stopped, which is no change of health
        yield
    if state.calls.closing is None:  # stopped without a drain, which would have ended the calls
        await hang_up_all(state.calls, logger.info)


def _note_end(call_sid: str, state: ServerState) -> None:
    """Record that the caller left a call whose stream has not started, or whose transfer rings."""
    note_hung_up(call_sid, state)
    no_stream(state, call_sid, "the call ended before its audio came")
    state.reports.transferred(state.outbox, call_sid, state.history.find(call_sid))


def _answers(state: ServerState) -> CallAnswers:
    return CallAnswers(
        incoming=lambda call: answer_call(call, state),
        after_transfer=lambda call, status: after_transfer(call, status, state),
        after_stream=lambda call, resumes, held_secs: next_step(call, resumes, held_secs, state),
        after_message=lambda call: after_message(call, state),
        whisper=lambda call_sid: whisper(call_sid, state),
    )
