"""Calls in real time, to a cluster."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from tests.cluster.ray_cluster import TWIML, RayCluster, call_sid
from tests.phone import Phone

LOUD = bytes([0x10, 0x90] * 80)


class LiveCall:
    """A call in real time, which keeps what it hears and when."""

    def __init__(self, phone: Phone, worker: str) -> None:
        self.phone = phone
        self.worker = worker
        self.broken: str | None = None
        self.longest_gap_s = 0.0
        self._talking = asyncio.create_task(self._talk())
        self._hearing = asyncio.create_task(self._hear())

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            await self.phone.say(LOUD)
            next_s += 0.02
            await asyncio.sleep(max(0.0, next_s - loop.time()))

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        last_s = loop.time()
        try:
            while True:
                await self.phone.listen(1)
                self.longest_gap_s = max(self.longest_gap_s, loop.time() - last_s)
                last_s = loop.time()
        except Exception as error:  # however it breaks
            self.broken = type(error).__name__

    async def hang_up(self) -> None:
        """End it as a caller does."""
        await self.stop()
        await self.phone.socket.close()

    async def stop(self) -> None:
        """Talk and listen no more."""
        for task in (self._talking, self._hearing):
            task.cancel()
        await asyncio.gather(self._talking, self._hearing, return_exceptions=True)


async def place_calls(
    cluster: RayCluster, count: int, stack: AsyncExitStack, first: int, patience_secs: float = 0.0
) -> list[LiveCall]:
    """Place calls one after the other; each talks and listens until the stack is closed.

    Args:
        cluster: is called.
        count: how many.
        stack: ends them.
        first: the number of the first; each has its own.
        patience_secs: for how long a caller who hears busy tries again.
    """
    live = []
    for number in range(first, first + count):
        twiml = await cluster.voice.call_in(TWIML, call_sid(number))
        async with asyncio.timeout(patience_secs or None):
            while patience_secs and "<Stream" not in twiml:
                await asyncio.sleep(0.2)
                twiml = await cluster.voice.call_in(TWIML, call_sid(number))
        phone, _ = await stack.enter_async_context(cluster.voice.obey(twiml, call_sid(number)))
        (stream,) = ET.fromstring(twiml).iter("Stream")  # noqa: S314 - our own
        call = LiveCall(phone, (urlsplit(stream.attrib["url"]).hostname or "").partition(".")[0])
        stack.push_async_callback(call.stop)
        live.append(call)
    return live
