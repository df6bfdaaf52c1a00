"""Whole calls without an echo, in simulated time: whether the canceller stays off, and its CPU time.

``uv run python -m benchmarks.no_echo`` makes 100 calls of 20 s through the real server and pipeline, which
takes two minutes: parrots of any delay, callers who repeat a sentence or what the bot said, music, and two
people, with noise. It prints the calls in which an echo was found, and the detection's share of CPU time.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.cpu_time import timed
from bot import run_call
from moshi_phone.audio.formats import FRAME_SAMPLES, PHONE_RATE_HZ, SAMPLE_RATE_HZ
from moshi_phone.audio.resampling import StreamResampler
from moshi_phone.conversation.live import Judge
from moshi_phone.engines.duplex import DuplexEngine, DuplexStep
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.records.call_metrics import CallMetrics
from moshi_phone.rehearse.room import Room
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from moshi_phone.testing import FakeEngine, run_simulated
from processors.echo import EchoCanceller, EchoPath
from tests.support.echoes import Floats, clips, later, talk
from tests.support.inline_executor import InlineExecutor
from tests.support.phone import start_message
from tests.support.simulated import SimulatedPhone

SECS = 20.0
ECHO = "echo"  # key of the time spent on echo detection
KINDS = (
    "a parrot",
    "a repeated sentence before a parrot",
    "two people",
    "the bot's words, repeated",
    "music",
)


@dataclass(frozen=True)
class WholeCall:
    """One simulated call.

    Attributes:
        metrics: of the call.
        phone: the caller's phone.
    """

    metrics: CallMetrics
    phone: SimulatedPhone


def whole_call(
    engine: DuplexEngine,
    said: Floats,
    *,
    room: Room | None = None,
    jitter_ms: float = 0.0,
    options: CallOptions = CallOptions(silence_secs=0),  # noqa: B008 - frozen
) -> WholeCall:
    """Make a call through the real server.

    Args:
        engine: of the server.
        said: by the caller, float32 at 8 kHz.
        room: adds an echo to the caller's audio.
        jitter_ms: largest delay of the caller's packets.
        options: of the call.
    """

    async def main() -> WholeCall:
        # A thread does not run in simulated time: the conversation would end before its analysis.
        state = ServerState(engine, Settings(calls=options), judge=Judge(InlineExecutor()))
        await engine.start(lambda _: None)
        start = start_message()
        phone = SimulatedPhone(create_app(state, run_call), start, room)
        late_s = np.random.default_rng(1).uniform(0, jitter_ms / 1000, len(said) // 160).tolist()
        await phone.talk(said, late_s=late_s)
        call = state.calls.find(start["start"]["callSid"])
        if call is None:
            raise RuntimeError("expected the call in the list of calls, found none")
        return WholeCall(call.observations.metrics, phone)

    return run_simulated(main())


def speaking(bot: Floats) -> FakeEngine:
    """Return an engine that says given audio, float32 at 8 kHz, whatever it hears."""
    resampled = StreamResampler(PHONE_RATE_HZ, SAMPLE_RATE_HZ).process(bot)
    whole = len(resampled) // FRAME_SAMPLES * FRAME_SAMPLES
    return FakeEngine(answers=[DuplexStep(pcm) for pcm in resampled[:whole].reshape(-1, FRAME_SAMPLES)])


def without_echo(number: int, secs: float = SECS) -> WholeCall:
    """Make one of many different calls without an echo; ``number % 5`` is the index of its kind."""
    rng, voices = np.random.default_rng(number), clips()
    caller = 10 ** (rng.uniform(-20, 0) / 20) * talk(rng, voices, secs)
    engine: DuplexEngine = ParrotEngine(rng.choice([0.0, rng.uniform(0.05, 1), rng.uniform(1, 9)]))
    match KINDS[number % len(KINDS)]:
        case "a repeated sentence before a parrot":
            caller = np.tile(caller[: int(rng.uniform(1, 4) * PHONE_RATE_HZ)], 20)[: len(caller)]
        case "two people":
            engine = speaking(talk(rng, voices, secs))
        case "the bot's words, repeated":
            bot = talk(rng, voices, secs)
            engine, caller = speaking(bot), 10 ** (rng.uniform(-15, 0) / 20) * later(bot, rng.uniform(1.2, 4))
        case "music":
            caller = _music(rng, secs)
    noise = 10 ** (rng.uniform(-70, -35) / 20) * rng.standard_normal(len(caller))
    return whole_call(engine, (caller + noise).astype(np.float32))


def _music(rng: np.random.Generator, secs: float) -> Floats:
    """Return chords of three decaying tones, two a second."""
    note = np.arange(PHONE_RATE_HZ // 2) / PHONE_RATE_HZ
    chords = []
    for _ in range(int(2 * secs)):
        hz = 220 * 2 ** (rng.integers(0, 24, 3) / 12)
        chords.append(np.exp(-4 * note) * np.sin(2 * np.pi * np.outer(hz, note)).sum(axis=0))
    return (0.15 * np.concatenate(chords)).astype(np.float32)


def main(arguments: list[str] | None = None) -> None:
    """Make the calls."""
    parser = argparse.ArgumentParser(description="Make whole calls without an echo.")
    parser.add_argument("--calls", type=int, default=100, metavar="N", help="default: 100")
    options = parser.parse_args(arguments)
    spent_s, found = {ECHO: 0.0}, 0
    timed(EchoPath, "take", spent_s, ECHO)
    timed(EchoCanceller, "clean", spent_s, ECHO)
    began_s = time.thread_time()
    for number in range(options.calls):
        metrics = without_echo(number).metrics
        if metrics.echo is not None or metrics.echo_canceller_ms:
            found += 1
            print(f"call {number}, {KINDS[number % len(KINDS)]}: found {metrics.echo}")
    in_all_s = time.thread_time() - began_s
    print(f"an echo was found in {found} of {options.calls} calls")
    print(
        f"the measure took {1000 * spent_s[ECHO] / (options.calls * SECS):.2f} ms a second of call, "
        f"{100 * spent_s[ECHO] / in_all_s:.1f} % of the call and its simulated phone"
    )


if __name__ == "__main__":
    main()
