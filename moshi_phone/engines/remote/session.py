"""One call with a server: sends the caller's frames, and returns its speech as steps.

    feed → flow → [Opus] → socket → server → socket → [Opus] → outputs

Frames before the handshake are not sent: servers would lose them, or stay behind by as many. Each is answered
by a step without sound, so that the playout clock continues.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Protocol

import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES, Pcm
from moshi_phone.audio.silence import SILENT_FRAME
from moshi_phone.engines.duplex import WIRE, DuplexSession, DuplexStep, EngineFailed, check_frame
from moshi_phone.engines.remote.connection import (
    Access,
    ServerFailed,
    ServerUnreachable,
    close_code,
    open_chat,
)
from moshi_phone.engines.remote.opus import DELAY_MS, OpusDecoder, OpusEncoder
from moshi_phone.engines.remote.pool import Backend
from moshi_phone.engines.remote.protocol import Kind, decode, encode_audio
from moshi_phone.engines.remote.query import CallSettings
from moshi_phone.engines.remote.send_window import SendWindow
from moshi_phone.engines.step_queue import StepQueue

PING_EVERY_S = 5.0
HUNG_S = 0.8  # twice a server's permitted delay; a call that ends with answers missing for longer has failed
MAX_TEXT_CHARS = 1000  # that wait for the next audio; a server sends one word a frame at most
_LIMIT_SLACK_FRAMES = 25  # a server that closes this close to its limit has reached it


class SessionOwner(Protocol):
    """The engine's interface for its sessions."""

    def on_reached(self, backend: Backend) -> None:
        """Record that the call has reached the server's model."""

    def move(self, backend: Backend, error: str) -> Backend | None:
        """Record that a server cannot be reached; return another one for the call, or None."""

    def on_failed(self, backend: Backend, error: str, *, server_failed: bool) -> None:
        """Record that the call is lost, and whether its server caused it."""

    def on_closed(self, session: RemoteSession, backend: Backend) -> None:
        """Record that the session is over and its server free."""


class RemoteSession(DuplexSession):
    """See ``DuplexSession``; made by ``RemoteEngine.open_session`` within a running event loop.

    Args:
        owner: the engine.
        backend: the lease; given back by ``on_closed``.
        access: token and TLS settings.
        settings_for: gives the call's settings for a server.
        wait_secs: how long it may take to reach a server's model, all servers that are tried together.
        coder: where Opus is encoded; None for the event loop itself.
    """

    def __init__(
        self,
        owner: SessionOwner,
        backend: Backend,
        access: Access,
        *,
        settings_for: Callable[[Backend], CallSettings],
        wait_secs: float,
        coder: Executor | None = None,
    ) -> None:
        self._owner = owner
        self._backend = backend
        self._access = access
        self._settings_for = settings_for
        self._wait_secs = wait_secs
        self._coder = coder
        self._loop = asyncio.get_running_loop()
        self._encoder = OpusEncoder()  # used by one task of the executor at a time
        self._decoder = OpusDecoder()  # used on the event loop
        self._flow = SendWindow()  # decides when to send the next frame
        self._to_send = asyncio.Event()  # set when the window may have opened
        self._steps = StepQueue()  # all of this is the event loop's own: only Opus runs in threads
        self._rest = np.zeros(0, np.float32)  # decoded audio, less than a frame
        self._text = ""  # received words, until the next audio
        self._opus_ms = 0.0  # of the last encoding, for the timings
        self._connected = False  # whether the handshake is complete; until then, no frames are sent
        self._settings = CallSettings()  # replaced with each server that is tried
        self._began_s = self._loop.time()  # of the waiting, then of the conversation
        self._heard_s = 0.0  # when the server last sent audio
        self._sent_s = 0.0  # when audio was last sent
        self._sent_frames = 0  # compared with the server's limit
        # The two ends; neither is ever unset.
        self._error: EngineFailed | None = None
        self._closed = False
        self._talking = asyncio.create_task(self._talk())  # owns the connection

    @property
    def display_name(self) -> str:
        """See ``DuplexSession``: names the server."""
        return f"Server {self._backend.server.name}"

    def feed(self, pcm: Pcm) -> None:
        """See ``DuplexSession``. Frames after the end are ignored: some may still be in flight."""
        check_frame(pcm)
        if self._closed or self._error is not None:
            return
        if not self._connected:
            self._steps.push(DuplexStep(None))  # otherwise the call's watchdog would count waiting as hanging
            return
        self._flow.push(pcm)
        self._to_send.set()

    def outputs(self) -> AsyncIterator[DuplexStep]:
        """See ``DuplexSession``."""
        return self._steps.read()

    @property
    def backlog_frames(self) -> int:
        """See ``DuplexSession``; frames that the server never answers are none of them."""
        return self._flow.behind_frames + len(self._steps)

    @property
    def dropped_frames(self) -> int:
        """See ``DuplexSession``."""
        return self._flow.dropped_frames

    @property
    def codec_delay_ms(self) -> float:
        """Opus on both ways."""
        return 2 * DELAY_MS

    async def close(self) -> None:
        """See ``DuplexSession``. The lease is returned when the server has closed the connection."""
        if self._closed:
            return
        self._closed = True
        self._steps.close()
        self._talking.cancel()
        try:
            await asyncio.wait([self._talking])
        finally:  # also after a cancellation: an unreturned lease would reduce the capacity for ever
            if self._error is None and (error := self._what_hangs()):
                self._owner.on_failed(self._backend, error, server_failed=True)
            self._owner.on_closed(self, self._backend)

    async def _talk(self) -> None:
        try:
            while True:
                try:
                    await self._talk_with(self._backend)
                except ServerUnreachable as error:
                    # Nothing has been sent yet, so another server can take the call.
                    other = self._owner.move(self._backend, str(error))
                    if other is None:
                        raise
                    self._backend = other
        except ServerFailed as error:
            self._fail(str(error), server_failed=True)
        except _LimitReached as limit:
            self._fail(str(limit), server_failed=False)
        except Exception as error:  # any other error: the caller must not hear silence for ever
            self._fail(f"{self.display_name}: the session broke ({error!r})", server_failed=False)

    async def _talk_with(self, backend: Backend) -> None:
        settings = self._settings = self._settings_for(backend)
        left_secs = max(self._began_s + self._wait_secs - self._loop.time(), 0.0)
        async with open_chat(backend.server, dict(settings.query), self._access, left_secs) as connection:
            self._owner.on_reached(backend)
            self._began_s = self._heard_s = self._loop.time()
            self._connected = True
            receiving = asyncio.create_task(self._receive(connection))
            sending = asyncio.create_task(self._send(connection))
            # Its failure ends nothing: the last round-trip time stays.
            pinging = asyncio.create_task(self._measure_wire(connection))
            try:
                await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()  # an error of ours, not of the server, which gets no audio now
                await receiving
            finally:
                for task in (receiving, sending, pinging):
                    task.cancel()
                await asyncio.wait((receiving, sending, pinging))

    async def _receive(self, connection: ClientConnection) -> None:
        try:
            async for data in connection:
                self._take(data)
        except ConnectionClosed as error:
            raise self._closed_early(close_code(error)) from error
        raise self._closed_early("code 1000")  # the iteration ends without an error

    async def _send(self, connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):  # the receiving side reports it
            while True:
                await self._to_send.wait()
                self._to_send.clear()
                while (pcm := self._flow.take(self._loop.time())) is not None:
                    self._sent_frames += 1
                    self._sent_s = self._loop.time()
                    heard = SILENT_FRAME if self._sent_frames <= self._settings.silent_frames else pcm
                    began_s = self._loop.time()
                    ogg = await self._encode(heard)
                    self._opus_ms = (self._loop.time() - began_s) * 1000
                    await connection.send(encode_audio(ogg))

    async def _encode(self, pcm: Pcm) -> bytes:
        if self._coder is None:
            return self._encoder.encode(pcm)
        return await self._loop.run_in_executor(self._coder, self._encoder.encode, pcm)

    async def _measure_wire(self, connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._flow.set_wire(await (await connection.ping()))
                await asyncio.sleep(PING_EVERY_S)

    def _take(self, data: bytes | str) -> None:
        message = decode(data)
        if message is None:
            return
        if message.kind is Kind.ERROR:
            raise ServerFailed(f"{self.display_name} reports an error: {message.error}")
        if message.kind is Kind.TEXT:
            # Stored for the next audio, with which it is spoken.
            self._text = (self._text + message.text)[-MAX_TEXT_CHARS:]
        elif message.kind is Kind.AUDIO:
            began_s = self._loop.time()
            self._rest = np.concatenate((self._rest, self._decoder.decode(message.payload)))
            decode_ms = (self._loop.time() - began_s) * 1000
            while self._rest.size >= FRAME_SAMPLES:
                self._answer(self._rest[:FRAME_SAMPLES], decode_ms)
                self._rest = self._rest[FRAME_SAMPLES:]

    def _answer(self, pcm: Pcm, decode_ms: float) -> None:
        self._heard_s = self._loop.time()
        delay_s = self._flow.answered(self._heard_s)
        self._to_send.set()  # frames may wait for this
        timings_ms = dict[str, float]()
        if delay_s is not None:
            timings_ms["opus"] = self._opus_ms + decode_ms
            timings_ms[WIRE] = self._flow.wire_s * 1000
            timings_ms["server"] = max(delay_s * 1000 - sum(timings_ms.values()), 0.0)
        text, self._text = self._text, ""
        self._steps.push(DuplexStep(pcm, text, timings_ms))

    def _closed_early(self, code: str) -> Exception:
        secs = self._loop.time() - self._began_s
        limit = self._settings.limit_frames
        frames = max(self._sent_frames, secs * 1000 / FRAME_MS)
        if limit is not None and frames >= limit - _LIMIT_SLACK_FRAMES:
            return _LimitReached(
                f"{self.display_name} has reached its limit of {limit * FRAME_MS / 1000:g} s a call, "
                f"which {self._backend.server.profile.title} sets"
            )
        return ServerFailed(
            f"{self.display_name} closed the connection after {secs:.1f} s of the call ({code})"
        )

    def _what_hangs(self) -> str | None:
        """Describe answers that were missing for long when the call was ended elsewhere, or return None."""
        now_s = self._loop.time()
        if not self._connected:
            waited_s = now_s - self._began_s
            return (
                f"{self.display_name} sent no handshake for {waited_s:.0f} s"
                if waited_s >= self._wait_secs / 2
                else None
            )
        owes = self._sent_s > self._heard_s and now_s - self._heard_s >= HUNG_S
        return f"{self.display_name} gave no answer for {now_s - self._heard_s:.0f} s" if owes else None

    def _fail(self, error: str, *, server_failed: bool) -> None:
        self._error = EngineFailed(error)
        self._owner.on_failed(self._backend, error, server_failed=server_failed)
        self._steps.fail(self._error)


class _LimitReached(Exception):
    """A server ended the call at its maximum length."""
