"""An ASGI extension of this server's WebSockets: text messages without tasks and queues.

By ASGI, each message wakes a task by a queue, which takes two iterations of the event loop. A phone's packets
come 50 times a second, and three of four only fill a buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from starlette.websockets import WebSocket

EXTENSION = "moshi_phone.direct_messages"
TAKEN = "taken"  # key of the result in a message of receive()

TakeText = Callable[[str], Any]
"""Takes a message when it arrives. Returns None, or what the message of ``receive()`` contains as ``taken``.

Must return at once, and never raise.
"""


class DirectMessages(Protocol):
    """The connection of a WebSocket."""

    def take_with(self, take: TakeText | None, awaited_bytes: Callable[[], int] | None = None) -> None:
        """Give text messages to ``take`` when they arrive; with None, to ``receive()`` only.

        While messages wait for ``receive()``, later ones wait there too, not taken, so the order remains.

        Args:
            take: takes a message.
            awaited_bytes: returns how many bytes must arrive before ``take`` can return anything; 0 if any
                message may matter. The connection may read them at once, and up to 0.1 s later.
        """

    def send_now(self, text: str) -> bool:
        """Send a text, unless that could wait or the socket is closed; return whether it was sent."""


def direct_messages_of(websocket: WebSocket) -> DirectMessages | None:
    """Return the connection of a WebSocket; None on other servers (pipecat's runner, tests)."""
    scope: dict[str, Any] = getattr(websocket, "scope", {})
    direct: DirectMessages | None = scope.get("extensions", {}).get(EXTENSION, {}).get("connection")
    return direct
