"""Ends connections with their next answer, once a server is to close: who asks again finds another server."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class LastAnswers:
    """An app, whose answers end their connections while it is closing.

    Args:
        app: answers.
        is_closing: tells whether it is.
    """

    def __init__(self, app: ASGIApp, is_closing: Callable[[], bool]) -> None:
        self._app = app
        self._is_closing = is_closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_closing():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, send_last)
