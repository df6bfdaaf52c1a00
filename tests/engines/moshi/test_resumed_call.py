"""A stream that breaks off and is replaced: meanwhile Moshi's model hears silence, and nothing else."""

from __future__ import annotations

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides, DuplexSession
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.engines.moshi.model_thread import ModelThread
from moshi_phone.engines.moshi.session import MoshiSession
from tests.engines.moshi.surroundings import CARD, Coder, Surroundings, tiny_thread
from tests.fakes.twilio_api import FakeTwilioApi
from tests.server.talking_line import CALL, LOUD, Line, TalkingEngine
from tests.support.phone import SILENT_PACKET, Phone
from tests.support.waiting import until

FRAMES, LOST_FRAMES = 4, 4


class LoggingCoder(Coder):
    """Makes tokens of any sound, and records all its input and output."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[list[int]] = []
        self.said: list[list[int]] = []

    def encode(self, pcm: Pcm) -> Tokens:
        tokens = (np.abs(pcm[: 50 * CODEBOOKS : 50]) * 1000).astype(np.uint32) % CARD
        self.heard.append(tokens.tolist())
        return tokens

    def decode(self, tokens: Tokens) -> Pcm:
        self.said.append(tokens.tolist())
        return np.resize((tokens / CARD).astype(np.float32) - 0.5, FRAME_SAMPLES)  # nothing is trimmed of it


class TinyMoshi(TalkingEngine):
    """Opens sessions of the tiny model, all with the same seed."""

    def __init__(self, thread: ModelThread) -> None:
        super().__init__(capacity=1)
        self._thread = thread
        self.coders: list[LoggingCoder] = []
        self.open: list[MoshiSession] = []

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> DuplexSession:  # type: ignore[override]
        self.coders.append(LoggingCoder())
        self.open.append(Surroundings(self._thread, coder=self.coders[-1]).session)
        return self.open[-1]


async def talk_slowly(phone: Phone, coder: LoggingCoder, frames: int, packet: bytes = LOUD) -> None:
    """Say frame by frame, each after the answer to the one before: no frame may be dropped."""
    for _ in range(frames):
        said = len(coder.said)
        await phone.say(packet, times=4)
        await until(lambda: len(coder.said) > said)  # noqa: B023 - awaited here


async def test_the_tokens_are_those_of_a_session_that_heard_silence(twilio: FakeTwilioApi) -> None:
    with tiny_thread() as thread:
        engine = TinyMoshi(thread)
        async with Line(twilio, engine, echo_cancel="off").serving() as line:
            twiml = await line.voice.call_in(f"{line.voice.public}/twiml", CALL)
            async with line.call(twiml=twiml) as phone:
                await until(lambda: engine.coders)
                await talk_slowly(phone, engine.coders[0], FRAMES)
                phone.socket.transport.abort()
                await until(lambda: len(engine.coders[0].said) >= FRAMES + LOST_FRAMES)
            async with line.call(twiml=await line.voice.after(twiml, CALL)) as phone:
                (call,) = line.state.calls.running
                await until(lambda: call.expected.resumes == 1)
                resumed = engine.coders[0]
                await until(lambda: engine.open[0].backlog_frames == 0)
                await talk_slowly(phone, resumed, FRAMES)
                assert engine.open[0].dropped_frames == 0
                await phone.send({"event": "stop"})
                await phone.closed()
            await line.state.calls.wait_until_idle()

            async with line.call() as phone:
                await until(lambda: len(engine.coders) > 1)
                unbroken = engine.coders[1]
                await talk_slowly(phone, unbroken, FRAMES)
                await talk_slowly(phone, unbroken, len(resumed.heard) - 2 * FRAMES, SILENT_PACKET)
                await talk_slowly(phone, unbroken, FRAMES)
            assert (unbroken.heard, unbroken.said) == (resumed.heard, resumed.said)
            assert len({tuple(frame) for frame in resumed.said}) > FRAMES
