"""uvicorn's WebSocket, with limits on memory and time per connection.

uvicorn's own parses a whole read at once (256 KiB can hold 40,000 messages or pings) and answers every ping,
even if the peer does not read the answers: 690 MB in 38 s from one connection. Here a read is parsed in small
pieces, reading pauses while the peer does not read, and control frames have a rate limit.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.transports import BaseTransport
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from starlette.websockets import WebSocket
from uvicorn._types import (  # uvicorn declares these types nowhere else
    ASGIReceiveEvent,
    ASGISendEvent,
)
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.protocol import State

from moshi_phone.access.token_bucket import TokenBucket
from moshi_phone.runtime import direct_messages
from moshi_phone.runtime.direct_messages import TAKEN, TakeText
from moshi_phone.runtime.watchdog import LATE_S
from moshi_phone.server.net.connection_guard import WatchedProtocol
from moshi_phone.server.net.connections import (
    AFTER_CLOSE,
    FLOOD,
    FRAGMENTS,
    NO_HANDSHAKE,
    NO_PONG,
    Connections,
)
from moshi_phone.server.net.frame_boundaries import FrameBoundaries
from moshi_phone.server.net.receive_threshold import ReceiveThreshold

EXTENSION = "moshi_phone.connection"
_PIECE_BYTES = 512  # at most 85 messages of 6 bytes, the smallest
_CALL_PIECE_BYTES = 4 * 1024  # a burst after half a second's stall
MAX_AFTER_CLOSE_BYTES = 64 * 1024  # 3 s of a caller's speech: more than was in flight
_MAX_QUEUED_MESSAGES = 4  # for an app that takes messages as they arrive
_MESSAGES_A_TURN = 16  # then the loop runs other tasks
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_KERNEL_UNSENT_BYTES = 32 * 1024  # 2.7 s of speech; a larger buffer would hide a stalled peer for longer
_CONTROL_BURST, _CONTROL_PER_S = 50.0, 10.0  # Twilio's own pings are seconds apart
_MAX_FRAGMENTS = 64  # each empty fragment costs memory, but no bytes of the message limit
_NO_UTF_8 = 1007  # RFC 6455, section 7.4
_SHUTDOWN_SECS = 0.5  # time for the close frame to be written when the server stops


class WebSocketProtocol(WatchedProtocol, WebSocketsSansIOProtocol):
    """One WebSocket, from its handshake to its end.

    Args:
        connections: all connections of this server.
        uvicorn: positional arguments of uvicorn's protocols.
        named: their keyword arguments: configuration and state.
    """

    def __init__(self, connections: Connections, *uvicorn: Any, **named: Any) -> None:
        super().__init__(connections, *uvicorn, **named)
        self.close_timeout = connections.limits.closing_secs
        self.is_shut_down = False  # read by the call: a stopping server means no resumption
        self._is_call = False  # past admission; no longer counts as waiting
        self._is_ping_extended = False  # whether the pong has had its one extra period after a suspension
        self._began_s = self.loop.time()
        self._after_close_bytes = 0  # received after our close frame
        self._received = 0  # messages delivered to the app
        self._take: TakeText | None = None  # gets text messages as they arrive
        self._awaited_bytes: Callable[[], int] | None = None  # before it returns anything
        self._boundaries = FrameBoundaries()  # of the frames after the handshake
        self._control_frames = TokenBucket(_CONTROL_BURST, _CONTROL_PER_S, self._began_s)

    def connection_made(self, transport: BaseTransport) -> None:
        """Start waiting for admission."""
        super().connection_made(transport)
        self._threshold = ReceiveThreshold(self.transport)
        if underneath := self.transport.get_extra_info("socket"):
            with suppress(OSError):  # some systems lack this option
                underneath.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_UNSENT_BYTES)
        self._wait()

    async def run_asgi(self) -> None:
        """Give the app access to the connection (``connection_of``, ``direct_messages_of``)."""
        extensions = cast("dict[str, dict[str, Any]]", self.scope["extensions"])
        extensions[EXTENSION] = extensions[direct_messages.EXTENSION] = {"connection": self}
        await super().run_asgi()

    def admitted(self) -> None:
        """Mark the connection as a call: it no longer waits for admission or for parsing turns."""
        self._is_call = True
        self._registry.leave(self)

    def shutdown(self) -> None:
        """Close the connection because the server stops; abort it after half a second."""
        self.is_shut_down = True
        super().shutdown()
        self.loop.call_later(_SHUTDOWN_SECS, self.transport.abort)

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Buffer the data. A call parses it at once, as far as the app and the peer have room."""
        if not self._unread and len(data) <= self.piece_bytes and self._can_take_in():
            self.parse_now(data)  # the usual case, 50 times a second: one message, and nothing before it
        elif self._is_call:
            self._unread += data
            # Before asking for a turn, which is then seldom needed.
            self._take_in()
            self._regulate()
            self._ask()
        else:
            super().data_received(data)
        if self._awaited_bytes is not None:
            is_idle = not self._unread and not self.read_paused
            self._threshold.wait_for(self._awaited_bytes() if is_idle else 0)

    async def send(self, message: ASGISendEvent) -> None:
        """Send the app's next message; the first one answers the handshake."""
        is_answered = self.handshake_complete
        await super().send(message)
        if not is_answered:
            self._ask()

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next message for the app."""
        # All of this before the queue is read: until the app has handled the message that it gets here, no
        # later one may be taken.
        self._received += 1
        if self._unread or self._received % _MESSAGES_A_TURN == 0:
            await asyncio.sleep(0)  # during a flood, other calls must get the loop
        if self._unread:
            self._take_in()
            self._ask()
        message = await super().receive()
        if not self.writable.is_set():
            self.transport.pause_reading()
        return message

    def take_with(self, take: TakeText | None, awaited_bytes: Callable[[], int] | None = None) -> None:
        """Give text messages to ``take`` as they arrive (``DirectMessages``)."""
        self._take, self._awaited_bytes = take, awaited_bytes
        self._threshold.wait_for(0)

    def send_now(self, text: str) -> bool:
        """Send a text, unless that could wait or the socket is closed; return whether it was sent."""
        if not self.writable.is_set() or self.close_sent or self.disconnected or self.transport.is_closing():
            return False
        if not self.handshake_complete or self.conn.state is not State.OPEN:
            return False
        self.conn.send_text(text.encode())
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self._awaited_bytes is not None and not self._awaited_bytes():  # a mark: its answer matters
            self._threshold.wait_for(0)
        return True

    def pause_writing(self) -> None:
        """Stop reading while the peer does not read: each ping would queue another answer."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading."""
        super().resume_writing()
        self._take_in()
        if not self.read_paused:
            self.transport.resume_reading()

    @property
    def piece_bytes(self) -> int:  # type: ignore[override]
        """Number of bytes parsed at a time."""
        return _CALL_PIECE_BYTES if self._is_call and not self.close_sent else _PIECE_BYTES

    def _take_in(self) -> None:
        # One piece: messages that are taken as they arrive do not pause reading. The rest waits for a turn.
        if self._can_take_in():
            self.parse_piece()

    def _can_take_in(self) -> bool:
        """Return whether this is a running call, and the app and the peer have room."""
        return self._is_call and not self.close_sent and self._has_room()

    def _parse(self, piece: bytes) -> None:
        if self.close_sent:
            self._after_close_bytes += len(piece)
            if self._after_close_bytes > MAX_AFTER_CLOSE_BYTES:
                self.cut_off(AFTER_CLOSE)
                return
        is_framed = self.handshake_initiated
        is_usual = is_framed and not self.frames and self.conn.state is State.OPEN
        if is_usual and (texts := self._boundaries.whole_texts(piece)):
            for text in texts:
                self.curr_msg_data_type, self.frames = "text", [text]
                self.send_receive_event_to_app()
                if self.conn.state is not State.OPEN:  # failed: the rest is discarded
                    break
            return
        super()._parse(piece)
        if is_framed:
            self._boundaries.follow(piece)
        if self.conn.handshake_exc is not None and not self.handshake_complete:
            self._refuse_handshake()

    def _next_piece(self) -> bytes:
        if self.handshake_initiated:
            return super()._next_piece()
        # uvicorn parses the head as a whole; data behind it waits for the handshake's answer.
        end = self._unread.find(b"\r\n\r\n") + 4
        head = bytes(self._unread[:end])
        del self._unread[:end]
        return head

    def _may_parse(self) -> bool:
        if self.handshake_initiated and not self.handshake_complete:
            return False  # data behind the handshake waits for its answer
        return super()._may_parse() and self._has_room()

    def _has_room(self) -> bool:
        return not self.read_paused and self.writable.is_set()

    def _overdue(self, now_s: float) -> str | None:
        is_late = now_s - self._began_s > self._registry.limits.head_secs
        return NO_HANDSHAKE if is_late and not self.handshake_complete else None

    def _refuse_handshake(self) -> None:
        """Answer a handshake that websockets rejected; uvicorn does not check for that."""
        self.transport.write(b"".join(self.conn.data_to_send()) or _BAD_REQUEST)
        self.handshake_complete = self.close_sent = True
        self.transport.close()

    def handle_ping(self) -> None:
        """Answer a ping, within the rate limit."""
        if self._may_control() and not self.transport.is_closing():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Accept a pong, within the rate limit."""
        if self._may_control():
            self._is_ping_extended = False
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """Accept a fragment of a message. Empty ones escape the byte limit, so their number is limited."""
        if len(self.frames) >= _MAX_FRAGMENTS:
            self.cut_off(FRAGMENTS)
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Deliver a message. One with invalid UTF-8 closes the connection, without uvicorn's traceback."""
        if self.curr_msg_data_type != "text" or self.close_sent:
            super().send_receive_event_to_app()
            return
        data, self.frames = b"".join(self.frames), []
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.conn.send_close(_NO_UTF_8)
            self.handle_parser_exception()
            return
        message: dict[str, Any] = {"type": "websocket.receive", "text": text}
        if self._take is not None and self.queue.empty():
            if (taken := self._take(text)) is None:
                return
            message[TAKEN] = taken
        self.queue.put_nowait(cast("ASGIReceiveEvent", message))
        # An app that takes most messages soon receives the rest; each pause takes four system calls.
        limit = 1 if self._take is None else _MAX_QUEUED_MESSAGES
        if self.queue.qsize() >= limit and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def keepalive_timeout(self) -> None:
        """Abort a connection that answers no ping. A close frame would queue behind the unread data."""
        patience_s = self.ping_timeout or 0.0
        if not self._is_ping_extended and self.loop.time() - self.ping_sent_at > patience_s + LATE_S:
            # This process was suspended: the pong may have arrived unread.
            self._is_ping_extended = True
            self.pong_timer = self.loop.call_later(patience_s, self.keepalive_timeout)
            return
        super().keepalive_timeout()
        self.cut_off(NO_PONG)

    def _may_control(self) -> bool:
        if self._control_frames.take(self.loop.time()):
            return True
        self.cut_off(FLOOD)
        return False


def connection_of(websocket: WebSocket) -> WebSocketProtocol | None:
    """Return the connection under a WebSocket; None on other servers (pipecat's runner, tests)."""
    extension = websocket.scope.get("extensions", {}).get(EXTENSION, {})
    connection = extension.get("connection")
    return connection if isinstance(connection, WebSocketProtocol) else None
