"""A simulated caller: plays Twilio's part over a real WebSocket, in real time.

Built on streamdouble: its protocol messages and validation, its pacer (absolute deadlines, so that lateness
does not accumulate) and its jitter. Its session is not used: it has no playout buffer, so it measures neither
the delay at the ear nor gaps, and it decides by itself when to stop listening.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from streamdouble.chaos import Impairments, Network
from streamdouble.pacer import Pacer
from streamdouble.protocol import (
    InboundClear,
    InboundMark,
    InboundMedia,
    MediaStreamEncoder,
    ParsedFrame,
    ProtocolViolation,
    StreamIdentity,
    UnknownFrame,
    parse_outbound,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from moshi_phone.audio import g711
from moshi_phone.rehearse.playback import Playback
from moshi_phone.rehearse.reacting_caller import ReactingCaller
from moshi_phone.rehearse.record import PACKET_SAMPLES, CallRecord
from moshi_phone.rehearse.room import Room

PACKET_S = 0.020
CONNECT_SECS = 10.0
GOODBYE_SECS = 3.0
_VIOLATIONS_KEPT = 5
_FIELDS = {"media": {"payload"}, "mark": {"name"}}


class Caller:
    """One call: connects, speaks in real time while it listens, and hangs up.

    Args:
        url: the stream's URL, ``ws://`` or ``wss://``.
        said: µ-law, 8 kHz, whole packets of 20 ms; or a caller that reacts to the bot.
        call_sid: the call's SID; the default is a generated one.
        parameters: the TwiML's ``<Parameter>`` elements, including the token.
        jitter_ms: maximum delay of a packet; each delay is random.
        seed: of the random delays.
        room: adds an echo and noise to the sent audio. The record holds the audio without them.
        progress: called each second with the seconds so far.
    """

    def __init__(
        self,
        url: str,
        said: bytes | ReactingCaller,
        *,
        call_sid: str | None = None,
        parameters: dict[str, str] | None = None,
        jitter_ms: float = 0.0,
        seed: int = 0,
        room: Room | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.identity = StreamIdentity() if call_sid is None else StreamIdentity(call_sid=call_sid)
        # None for a recording.
        self._reacting = None if isinstance(said, bytes) else said
        self._spoken = bytearray()  # µ-law, by the reacting caller; for the report
        self.record = CallRecord(said if isinstance(said, bytes) else b"", 0.0, Playback())
        self._url = url
        self.parameters = parameters or {}
        self._encoder = MediaStreamEncoder(self.identity)
        self._network = Network(Impairments(jitter_ms=jitter_ms), seed=seed)
        self._room = room
        self._progress = progress
        # Timer for the next mark's echo, when the simulated buffer has played its audio.
        self._echoing: asyncio.TimerHandle | None = None

    async def call(self) -> CallRecord:
        """Make the call. Returns a record whatever the server does."""
        try:
            async with (
                asyncio.timeout(CONNECT_SECS),
                contextlib.AsyncExitStack() as opening,
            ):
                socket = await opening.enter_async_context(
                    # Twilio never compresses.
                    connect(self._url, compression=None, max_size=1 << 20, close_timeout=GOODBYE_SECS)
                )
                closing = opening.pop_all()  # the time limit is for connecting; the call outlasts it
        except (OSError, InvalidHandshake, InvalidURI, TimeoutError, EOFError) as error:
            self.record.refused = f"no stream at {self._url}: {error or 'no answer'}"
            return self.record
        async with closing:
            await self._talk(socket)
        return self.record

    async def _talk(self, socket: ClientConnection) -> None:
        record = self.record
        record.began_s = time.perf_counter()
        record.ear = Playback(record.began_s)
        listening = asyncio.create_task(self._listen(socket))
        try:
            await self._speak(socket)
            stopped_s = time.perf_counter()
            await asyncio.wait([listening], timeout=GOODBYE_SECS)
            if listening.done():
                record.closed_after_s = time.perf_counter() - stopped_s
        except ConnectionClosed:
            record.hung_up_s = time.perf_counter()
            self._note_the_break(socket)
        finally:
            if self._echoing is not None:
                self._echoing.cancel()
            listening.cancel()
            await asyncio.wait([listening])  # the task still writes to the record
            record.close_code = socket.close_code

    async def _speak(self, socket: ClientConnection) -> None:
        record, encoder = self.record, self._encoder
        await self._send(socket, encoder.connected())
        await self._send(socket, encoder.start(custom_parameters=self.parameters))
        # A packet leaves after its last sample, so the first one 20 ms after the start.
        await asyncio.sleep(record.began_s + PACKET_S - time.perf_counter())
        pacer = Pacer(PACKET_S)
        pacer.start()
        while (packet := self._next_packet()) is not None:
            await pacer.wait()
            if self._network.active:
                await asyncio.sleep(self._network.delay_s())
            if self._room is not None:
                at = len(record.left_s) * PACKET_SAMPLES
                packet = self._room.packet(packet, record.ear, at)
            await self._send(socket, encoder.media(packet))
            record.left_s.append(time.perf_counter())
            if len(record.left_s) % round(1 / PACKET_S) == 0:
                self._progress(round(len(record.left_s) * PACKET_S))
        await self._send(socket, encoder.stop())
        record.hung_up_s = time.perf_counter()

    def _next_packet(self) -> bytes | None:
        """Return the next packet; None at the end of the call."""
        record = self.record
        at = len(record.left_s) * PACKET_SAMPLES
        if self._reacting is None:
            return bytes(record.said[at : at + PACKET_SAMPLES]) or None
        # The caller hears the last 20 ms, and produces the packet that leaves in 20 ms.
        heard = record.ear.heard_between(at - PACKET_SAMPLES, at) if at else np.zeros(0, np.uint8)
        packet = self._reacting.next_packet(np.frombuffer(g711.decode(heard.tobytes()), "<i2"))
        self._spoken += packet or b""
        record.said = self._spoken
        return packet

    async def _listen(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                now_s = time.perf_counter()
                try:
                    heard = parse_outbound(message, expected_stream_sid=self.identity.stream_sid)
                except ProtocolViolation as violation:
                    self._note(str(violation))
                    continue
                self._hear(socket, heard, now_s)

    def _hear(self, socket: ClientConnection, heard: ParsedFrame, now_s: float) -> None:
        ear = self.record.ear
        self._check_fields(heard)
        match heard:
            case InboundMedia():
                ear.media(heard.payload, now_s)
            case InboundMark():
                ear.mark(heard.name, now_s)
                self._echo(socket)
            case InboundClear():
                ear.clear(now_s)
                self._echo(socket)

    def _echo(self, socket: ClientConnection) -> None:
        """Echo the marks that are due, and set a timer for the next one."""
        if self._echoing is not None:
            self._echoing.cancel()
        for echo in self.record.ear.echoes(time.perf_counter()):
            # Twilio sends nothing after stop.
            if not self._encoder.stopped:
                asyncio.ensure_future(self._send_quietly(socket, self._encoder.mark(echo.name)))  # noqa: RUF006
        due_s = self.record.ear.next_echo_s
        if due_s is not None:
            # A minimum: a timer that fires slightly early would find nothing due, and loop.
            wait_s = max(0.0005, due_s - time.perf_counter())
            self._echoing = asyncio.get_running_loop().call_later(wait_s, self._echo, socket)

    def _check_fields(self, heard: ParsedFrame) -> None:
        """Check a message's fields against Twilio's documentation: none may be missing or extra."""
        if isinstance(heard, UnknownFrame):
            self._note(f"unknown event {heard.event!r}")
            return
        event = heard.raw["event"]
        body = _FIELDS.get(event)
        expected = {"event", "streamSid"} | ({event} if body else set())
        extra = set(heard.raw) - expected
        if body:
            extra |= set(heard.raw[event]) - body
        if extra:
            self._note(f"'{event}' with extra fields: {', '.join(sorted(extra))}")

    def _note(self, violation: str) -> None:
        self.record.violation_count += 1
        if len(self.record.violations) < _VIOLATIONS_KEPT:
            self.record.violations.append(violation)

    def _note_the_break(self, socket: ClientConnection) -> None:
        record = self.record
        why = f"{socket.close_code} {socket.close_reason or ''}".strip()
        if record.ear.segments:
            record.broken = f"the server broke off after {record.secs:.1f} s: {why}"
        else:
            record.refused = why

    @staticmethod
    async def _send(socket: ClientConnection, message: dict[str, Any]) -> None:
        await socket.send(json.dumps(message))

    async def _send_quietly(self, socket: ClientConnection, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionClosed):  # the call may end during the send
            await self._send(socket, message)
