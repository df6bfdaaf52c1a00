"""A call through examples/webrtc.py: a real peer connection with Opus, on the loopback, in this process."""

from __future__ import annotations

import asyncio
import fractions

import numpy as np
import pytest
from pipecat.runner.types import SmallWebRTCRunnerArguments

pytestmark = pytest.mark.extra

aiortc = pytest.importorskip("aiortc", reason="needs --extra webrtc, which .ci/run has")


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer no other address of this machine, and ask no server for one."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])


async def test_a_call_in_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription  # noqa: PLC0415
    from aiortc.mediastreams import AudioStreamTrack  # noqa: PLC0415
    from av import AudioFrame  # noqa: PLC0415
    from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection  # noqa: PLC0415

    from examples import shared_engine, webrtc  # noqa: PLC0415

    class Tone(AudioStreamTrack):
        """440 Hz at 48 kHz, 20 ms a frame, at the pace of speech."""

        at = 0

        async def recv(self) -> AudioFrame:
            await asyncio.sleep(0.02)
            phases = 2 * np.pi * 440 / 48_000 * np.arange(self.at, self.at + 960)
            self.at += 960
            frame = AudioFrame.from_ndarray((8000 * np.sin(phases)).astype(np.int16)[None], "s16", "mono")
            frame.sample_rate, frame.pts = 48_000, self.at
            frame.time_base = fractions.Fraction(1, 48_000)
            return frame

    monkeypatch.setenv("MOSHI_ENGINE", "parrot")
    monkeypatch.setenv("MOSHI_PARROT_DELAY", "0")
    browser = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    browser.createDataChannel("signalling")
    browser.addTrack(Tone())
    heard: asyncio.Queue[object] = asyncio.Queue()
    browser.on("track", heard.put_nowait)
    await browser.setLocalDescription(await browser.createOffer())

    line = SmallWebRTCConnection([])
    await line.initialize(sdp=browser.localDescription.sdp, type=browser.localDescription.type)
    call = asyncio.create_task(webrtc.bot(SmallWebRTCRunnerArguments(webrtc_connection=line)))
    answer = line.get_answer()
    await line.connect()
    await browser.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
    track = await heard.get()
    loudest = 0
    async with asyncio.timeout(30):
        while loudest < 2000:  # the mirror's tone, when the connection stands
            frame = await track.recv()  # type: ignore[attr-defined]
            loudest = max(loudest, int(np.abs(frame.to_ndarray()).max()))
    assert shared_engine._engines[0].running == 1
    await browser.close()
    await line.disconnect()
    async with asyncio.timeout(20):
        await call
    assert shared_engine._engines[0].running == 0
