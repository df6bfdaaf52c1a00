"""The server: one WebSocket endpoint that becomes a call, and what tells how it is doing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from loguru import logger

from engines.duplex import DuplexEngine, DuplexSession, EngineBusy
from processors.media_stream import Start
from processors.tap_options import TapOptions
from processors.twilio import TwilioCredentials
from telephony.address import STREAM_PATH
from telephony.call_log import last_words
from telephony.calls import Call, Calls
from telephony.door import Door
from telephony.handshake import TRY_AGAIN_LATER, StreamRefused, read_start
from telephony.loopback import is_loopback
from telephony.onlookers import Onlookers
from telephony.options import ServerOptions
from telephony.promises import Promises
from telephony.version import VERSION
from telephony.watch import watching
from telephony.web import browser_phone
from telephony.web_options import WebOptions
from telephony.webhooks import OnStatus, webhooks


@dataclass
class Line:
    """What all calls of this process share.

    Attributes:
        engine: who answers.
        options: how the line is set.
        credentials: for hanging up by REST, where there are any.
        calls: those that run.
        door: who may come in.
        promises: the calls that were put through and are not here yet.
        taps: what is kept of them.
        web: who may talk and watch in a browser.
    """

    engine: DuplexEngine
    options: ServerOptions = field(default_factory=ServerOptions)
    credentials: TwilioCredentials | None = None
    calls: Calls = field(default_factory=Calls)
    door: Door = field(default_factory=Door)
    promises: Promises = field(default_factory=Promises)
    taps: TapOptions = field(default_factory=TapOptions)
    web: WebOptions = field(default_factory=WebOptions)

    @property
    def onlookers(self) -> Onlookers:
        """Who may look on."""
        return Onlookers(self.web, self.is_public)

    def is_public(self) -> bool:
        """Tell whether the server can be reached from elsewhere."""
        return self.door.address.base is not None or not is_loopback(self.options.host)

    def mint(self, call_sid: str) -> str:
        """Make what lets one stream of this call in."""
        return self.door.tokens.mint(call_sid, self.door.clock())


RunCall = Callable[[WebSocket, Call, DuplexSession, Line], Awaitable[None]]


def create_app(line: Line, run_call: RunCall, on_status: OnStatus | None = None) -> FastAPI:
    """Make the server's app; the engine is started and stopped by whoever made it.

    Args:
        line: what the calls share.
        run_call: drives one call to its end (``bot.run_call``).
        on_status: is told of each status that Twilio reports, by the call's SID.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        line.calls.end_all("the server stops")
        await line.calls.all_over()

    app = FastAPI(
        title="Moshi on the phone", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )

    @app.get("/healthz")
    def healthz() -> JSONResponse:
        """Whether the next call would be answered."""
        report = health(line)
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    app.include_router(webhooks(line.door, lambda call: reserve(line, call), on_status))

    app.include_router(watching(line.calls, line.engine, line.onlookers))
    app.include_router(browser_phone(line.mint, line.onlookers))

    @app.websocket(STREAM_PATH)
    async def stream(websocket: WebSocket) -> None:
        """One Media Stream, which is one call."""
        await websocket.accept()
        peer = websocket.client.host if websocket.client else None

        def admit(start: Start) -> None:
            line.door.admit(start, websocket.headers, peer)
            line.promises.keep(start.call_sid)

        await take(websocket, line, run_call, admit)

    return app


async def take(websocket: WebSocket, line: Line, run_call: RunCall, admit: Callable[[Start], None]) -> None:
    """Make an accepted socket a call, or close it with a reason.

    Args:
        websocket: accepted, nothing read yet.
        line: what the calls share.
        run_call: drives the call to its end.
        admit: raises ``StreamRefused`` for whom it does not let in.
    """
    try:
        start = await read_start(websocket, within_secs=line.options.start_secs)
        admit(start)
        await answer(websocket, start, line, run_call)
    except StreamRefused as refusal:
        line.calls.refused[refusal.cause] += 1
        logger.warning("Refused a stream: {}", refusal)
        with suppress(WebSocketDisconnect):  # the other side may have been quicker
            await websocket.close(refusal.code, refusal.reason)


async def answer(websocket: WebSocket, start: Start, line: Line, run_call: RunCall) -> None:
    """Answer a stream whose start message has been read.

    Raises:
        StreamRefused: when the line is closing or every session is taken.
    """
    session = _open_session(line)
    call = line.calls.begin(start)
    logger.info("Call {} began; {} running", call.name, len(line.calls.running))
    try:
        await run_call(websocket, call, session, line)
    finally:
        call.end("the call was broken off")
        await session.close()
        line.calls.finish(call)
        reason, _ = await call.ended()
        logger.info("Call {} ended after {:.1f} s: {}", call.name, call.secs, last_words(call, reason))


def reserve(line: Line, call_sid: str) -> str | None:
    """Hold a session for a call that is about to be put through, or say in one sentence why there is none."""
    engine, now_secs = line.engine, line.door.clock()
    if trouble := line.calls.closing or engine.trouble:
        return trouble
    if engine.running + line.promises.count(now_secs, besides=call_sid) >= engine.capacity:
        return f"all {engine.capacity} sessions are taken"
    line.promises.make(call_sid, now_secs)
    return None


def health(line: Line) -> dict[str, Any]:
    """Say how the line is doing, for ``/healthz``."""
    engine, trouble = line.engine, line.engine.trouble or line.calls.closing
    return {
        "ready": trouble is None,
        "trouble": trouble,
        "engine": engine.name,
        "capacity": engine.capacity,
        "sessions": engine.running,
        "calls": len(line.calls.running),
        "served": line.calls.served,
        "lost": engine.lost_calls,
        "refused": dict(line.calls.refused),
        "version": VERSION,
    }


def _open_session(line: Line) -> DuplexSession:
    if line.calls.closing:
        raise StreamRefused("closing", TRY_AGAIN_LATER, line.calls.closing)
    try:
        return line.engine.open_session()
    except EngineBusy as busy:
        raise StreamRefused("busy", TRY_AGAIN_LATER, str(busy)) from busy
