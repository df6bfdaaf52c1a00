"""Calls in real time, to a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import repeat
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from moshi_phone.audio.g711 import SILENCE
from moshi_phone.runtime.ports import free_port
from tests.cluster.local_cluster import SMALL_PARROT
from tests.cluster.ray_cluster import RayCluster, call_sid
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import FakeTwilioVoice
from tests.support.phone import Phone
from tests.support.program import program

LOUD = bytes([0x10, 0x90] * 80)


FRAME_S = 0.08


class LiveCall:
    """A call in real time, which records the received audio and its times.

    Attributes:
        phone: the caller's phone.
        worker: the name of its worker.
        sid: the call's SID.
        twiml: the webhook's response, which led to the stream.
        broken: the error that ended it, or None.
        longest_dry_s: the longest time without audio in Twilio's buffer since ``watch``.
    """

    def __init__(self, phone: Phone, sid: str, twiml: str, says: Iterable[bytes] = repeat(LOUD)) -> None:
        (stream,) = ET.fromstring(twiml).iter("Stream")  # noqa: S314 - our own
        self.phone = phone
        self.worker = (urlsplit(stream.attrib["url"]).hostname or "").partition(".")[0]
        self.sid = sid
        self.twiml = twiml
        self.broken: str | None = None
        self.longest_dry_s = 0.0
        self._owed_frames = 0.0
        self._says = iter(says)
        self._talking = asyncio.create_task(self._talk())
        self._hearing = asyncio.create_task(self._hear())

    @property
    def _owes_frames(self) -> float:
        """The number of frames sent and not yet answered."""
        return self.phone.packets_sent / 4 - len(self.phone.heard) / 640

    @property
    def lost_frames(self) -> float:
        """The increase of missing frames since ``watch`` was called."""
        return self._owes_frames - self._owed_frames

    def watch(self) -> None:
        """Begin to record gaps."""
        self.longest_dry_s, self._owed_frames = 0.0, self._owes_frames

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        for packet in self._says:
            await self.phone.say(packet)
            next_s += 0.02
            await asyncio.sleep(max(0.0, next_s - loop.time()))

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        plays_until_s = 0.0
        try:
            while True:
                await self.phone.listen(1)
                now_s = loop.time()
                if plays_until_s:
                    self.longest_dry_s = max(self.longest_dry_s, now_s - plays_until_s)
                plays_until_s = max(now_s, plays_until_s) + FRAME_S
        except Exception as error:  # however it breaks
            self.broken = type(error).__name__

    async def until_answered(self) -> None:
        """Wait for the first sound."""
        while not set(self.phone.heard) - {SILENCE}:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def hang_up(self) -> None:
        """Hang up as a caller does."""
        await self.stop()
        await self.phone.socket.close()

    async def stop(self) -> None:
        """Stop talking and listening."""
        for task in (self._talking, self._hearing):
            task.cancel()
        await asyncio.gather(self._talking, self._hearing, return_exceptions=True)


async def place_call(
    voice: FakeTwilioVoice,
    number: int,
    stack: AsyncExitStack,
    patience_secs: float = 0.0,
    says: Iterable[bytes] = repeat(LOUD),
) -> LiveCall:
    """Place a call, which talks and listens until the stack is closed.

    Args:
        voice: Twilio's side, which places the call.
        number: determines its SID.
        stack: ends it when it is closed.
        patience_secs: how long a caller with a busy tone tries again.
        says: the caller's packets of 20 ms, endless.
    """
    url, sid = f"{voice.public}/twiml", call_sid(number)
    twiml = await voice.call_in(url, sid)
    async with asyncio.timeout(patience_secs or None):
        while patience_secs and "<Stream" not in twiml:
            await asyncio.sleep(0.2)
            twiml = await voice.call_in(url, sid)
    return await _connect(voice, sid, twiml, stack, says)


async def go_on(
    voice: FakeTwilioVoice, call: LiveCall, stack: AsyncExitStack, twiml: str = ""
) -> tuple[LiveCall, float]:
    """Continue a phone call as Twilio does, until it is answered in a new stream.

    Either its stream broke off, or it was redirected to new TwiML. Also returns the seconds on hold:
    a worker that a busy machine overloads takes no call.
    """
    await call.stop()
    twiml, held_s = await voice.after(twiml or call.twiml, call.sid), 0.0
    while (pause := ET.fromstring(twiml).find("Pause")) is not None:  # noqa: S314 - our own
        await asyncio.sleep(length_s := float(pause.attrib["length"]))
        twiml, held_s = await voice.after(twiml, call.sid), held_s + length_s
    again = await _connect(voice, call.sid, twiml, stack)
    await again.until_answered()
    again.watch()
    return again, held_s


async def _connect(
    voice: FakeTwilioVoice, sid: str, twiml: str, stack: AsyncExitStack, says: Iterable[bytes] = repeat(LOUD)
) -> LiveCall:
    phone, _ = await stack.enter_async_context(voice.obey(twiml, sid))
    call = LiveCall(phone, sid, twiml, says)
    stack.push_async_callback(call.stop)
    return call


async def place_calls(
    cluster: RayCluster, count: int, stack: AsyncExitStack, first: int, patience_secs: float = 0.0
) -> list[LiveCall]:
    """Place successive calls (see ``place_call``), with numbers counted up from the first."""
    return [
        await place_call(cluster.voice, number, stack, patience_secs)
        for number in range(first, first + count)
    ]


@asynccontextmanager
async def one_server() -> AsyncIterator[FakeTwilioVoice]:
    """Run a single server beside a cluster: whatever disturbs its calls too is the machine's load."""
    public, port = "https://one.example.com", free_port()
    async with program(
        *("--engine", SMALL_PARROT, "--port", str(port), "--public-url", public),
        environment={"TWILIO_AUTH_TOKEN": AUTH_TOKEN},
    ) as server:
        await asyncio.wait_for(server.says("Answering calls"), 60)
        yield FakeTwilioVoice(public, f"127.0.0.1:{port}")


def check_no_gap(calls: Iterable[LiveCall], control: LiveCall) -> None:
    """Check that these calls lost no more audio than one to a single server at the same time.

    On a busy machine any process may wait, and drops old frames after it (``engines/duplex.py``). So a call
    may have gaps and losses of twice those of the other call, and half a second.
    """
    assert control.broken is None
    found = [
        (call.worker, call.broken, round(call.longest_dry_s, 2), round(call.lost_frames * FRAME_S, 2))
        for call in calls
    ]
    allowed_s = 2 * control.longest_dry_s + 0.5
    for _, broken, dry_s, lost_s in found:
        assert broken is None
        assert dry_s <= allowed_s, (found, allowed_s)
        assert lost_s <= allowed_s, (found, allowed_s)
