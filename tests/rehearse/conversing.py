"""A rehearsed conversation in simulated time: the real server, a scripted engine, a caller who reacts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot import run_call
from moshi_phone.audio import g711
from moshi_phone.conversation.facts import CallFacts
from moshi_phone.conversation.live import Judge
from moshi_phone.conversation.review import Reviewed, review
from moshi_phone.engines.duplex import DuplexEngine
from moshi_phone.rehearse.caller_voice import load_voices
from moshi_phone.rehearse.clips import CLIPS
from moshi_phone.rehearse.reacting_caller import ReactingCaller, Scene
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.app import create_app
from tests.support.inline_executor import InlineExecutor
from tests.support.phone import start_message
from tests.support.simulated import SimulatedPhone, run_simulated

VOICES = {voice.name: voice for voice in load_voices(CLIPS)}


@dataclass
class Conversed:
    """The results.

    Attributes:
        reviewed: the review after the call, of the audio sent and heard.
        scenes: played.
        state: of the server after the call.
        both: the audio sent and heard, int16 ``[n, 2]``.
    """

    reviewed: Reviewed
    scenes: list[Scene]
    state: ServerState
    both: NDArray[np.int16]


def converse(engine: DuplexEngine, voice: str = "slt", noise_db: float | None = None) -> Conversed:
    async def main() -> tuple[ServerState, bytes, bytes]:
        state = ServerState(engine, judge=Judge(InlineExecutor()))
        await engine.start(lambda _: None)
        phone = SimulatedPhone(create_app(state, run_call), start_message())
        said = await phone.converse(speak)
        heard = phone.playback.heard_between(0, len(said)).tobytes()
        return state, said, heard

    caller = ReactingCaller(VOICES[voice])
    random = np.random.default_rng(7)
    speech_rms = 0.1  # of the clips, which are normalized
    noise_rms = 0.0 if noise_db is None else speech_rms / 10 ** (noise_db / 20)

    def speak(heard: NDArray[np.int16]) -> bytes | None:
        packet = caller.next_packet(heard)
        if packet is None or not noise_rms:
            return packet
        clean = np.frombuffer(g711.decode(packet), "<i2")
        noisy = clean + random.normal(0, 32_768 * noise_rms, len(clean))
        return g711.encode(np.clip(noisy, -32_768, 32_767).astype("<i2").tobytes())

    state, said, heard = run_simulated(main())
    sides = [np.frombuffer(g711.decode(side), "<i2") for side in (said, heard)]
    both = np.stack(sides, axis=1)
    return Conversed(review([both], CallFacts()), caller.scenes, state, both)
