"""Sends a call's messages, so that the pipeline never waits for the socket."""

from __future__ import annotations

import asyncio
from collections import deque

from fastapi import WebSocket, WebSocketDisconnect
from loguru import logger

from processors.stream_socket import StreamSocket

STUCK_S = 1.2  # a longer send means that the peer does not read
KEPT_MESSAGES = 16  # while a send is stuck: 1.2 s of speech with its marks
MAX_UNSENT = 2_000  # in a burst, before the writer task runs: 160 s of speech


class SocketWriter:
    """Sends messages in order: at once if the socket has room, otherwise in a separate task.

    While a send is stuck, waiting messages become stale, so only the newest are kept: the oldest are dropped
    and counted. While the stream has no socket, messages are discarded.

    Args:
        stream: holds the socket.

    Attributes:
        dropped_messages: number of messages never sent.
    """

    def __init__(self, stream: StreamSocket) -> None:
        self.dropped_messages = 0
        self._stream = stream
        self._unsent: deque[str | bytes] = deque()  # bounded by send()
        self._more = asyncio.Event()  # set when a message was queued
        self._sent = asyncio.Event()  # set while nothing is queued or being sent
        self._sent.set()
        self._sending_since_s: float | None = None  # start of a blocked send, or None

    def send(self, message: str | bytes) -> bool:
        """Queue a message. Returns at once; False if that dropped an older one."""
        if self._stream.websocket is None:  # between two streams: the audio would be stale
            return True
        if self._sent.is_set() and self._stream.send_now(message):  # the usual case
            return True
        dropped = self.dropped_messages
        stuck = self._sending_since_s is not None and _now_s() - self._sending_since_s > STUCK_S
        bound = KEPT_MESSAGES if stuck else MAX_UNSENT
        while len(self._unsent) >= bound:
            self._unsent.popleft()
            self.dropped_messages += 1
        if self.dropped_messages and not dropped:
            logger.warning(
                "The peer is not reading; dropping the oldest audio (later drops are only counted)"
            )
        self._unsent.append(message)
        self._sent.clear()
        self._more.set()
        return self.dropped_messages == dropped

    def clear(self) -> None:
        """Discard all unsent messages."""
        self._unsent.clear()

    async def run(self) -> None:
        """Send until cancelled."""
        closed: WebSocket | None = None  # a socket that failed; its messages are skipped
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                while self._unsent:
                    message, websocket = self._unsent.popleft(), self._stream.websocket
                    if websocket is None or websocket is closed:
                        continue
                    self._sending_since_s = _now_s()
                    try:
                        await (
                            websocket.send_text(message)
                            if isinstance(message, str)
                            else websocket.send_bytes(message)
                        )
                    except (WebSocketDisconnect, RuntimeError) as error:
                        # Starlette's RuntimeError: our side has closed it. The reader sees both cases.
                        logger.debug("Nothing more is sent by this socket: {}", error)
                        closed = websocket
                    self._sending_since_s = None
                self._sent.set()
        finally:
            self._sent.set()

    async def flush(self, timeout_s: float) -> None:
        """Wait until all is sent, or for ``timeout_s``."""
        try:
            await asyncio.wait_for(self._sent.wait(), timeout_s)
        except TimeoutError:
            logger.debug("Not all was sent in {:g} s", timeout_s)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
