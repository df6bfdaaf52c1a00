"""The effect of the echo canceller on the echo and on the caller's voice: calls in simulated time.

``uv run python -m benchmarks.echo`` prints the table of docs/echo.md; it takes a minute. The bot's audio
goes to a playout buffer like Twilio's, comes back from a room with 80 ms of reverberation, and passes the
call's own time line, detector and canceller. Each line of the table has the worst values of three calls.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import product

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from pystoi import stoi

from benchmarks.table import row
from moshi_phone.audio import g711, pcm
from moshi_phone.audio.echo_canceller import DELAY_MS
from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.engines.parrot import GREETING_FILE
from moshi_phone.records.call_audio import CallAudio
from moshi_phone.records.call_metrics import CallMetrics
from moshi_phone.rehearse.clip import CALLER_FILE
from moshi_phone.rehearse.playback import Playback
from moshi_phone.rehearse.record import PACKET_SAMPLES
from moshi_phone.rehearse.room import Room
from processors.echo import EchoCanceller, EchoPath

DELAYS_MS = (60, 150, 250, 400, 600)
LOSSES_DB = (6, 15, 25)
SECS = 20.0
FROM_S = 5
JITTER_MS = 20.0
STEP_S = 0.03
TURN_S, BOT_UNTIL_S, CALLER_FROM_S, CALLER_UNTIL_S = 6.0, 4, 3, 1
Floats = NDArray[np.float32]
Signal = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """Measurements of one call, from its fifth second on.

    Attributes:
        found_s: when the echo was found; None if it was not.
        less_db: minimum attenuation of the echo at the engine; see ``echo_less_db``.
        stoi: of the caller's speech there, against that speech without an echo; None without speech.
    """

    found_s: float | None
    less_db: float
    stoi: float | None


def simulate(
    delay_ms: float,
    loss_db: float,
    *,
    talks: bool,
    pauses: bool = True,
    jitter_ms: float = JITTER_MS,
    jitter_back_ms: float = 0.0,
    seed: int = 1,
) -> Outcome:
    """Make one call of 20 s.

    Args:
        delay_ms: of the echo.
        loss_db: of the echo.
        talks: whether the caller speaks as well, for four seconds of six, two of them while the bot does.
        pauses: of both, if the caller speaks; otherwise, both speak all the time.
        jitter_ms: largest delay of the caller's packets; each delay is random.
        jitter_back_ms: the same for the bot's audio to the phone.
        seed: of the jitter and the room.
    """
    rng, now_s, arrives_s = np.random.default_rng(seed), 0.0, 0.0
    at = np.arange(int(SECS * PHONE_RATE_HZ)) % int(TURN_S * PHONE_RATE_HZ) / PHONE_RATE_HZ
    bot, caller = _speech(str(GREETING_FILE)), _speech(str(CALLER_FILE))
    if not talks:
        caller = np.zeros_like(caller)
    elif pauses:
        bot *= at < BOT_UNTIL_S
        caller *= (at >= CALLER_FROM_S) | (at < CALLER_UNTIL_S)
    sent, said = (g711.encode(pcm.to_bytes(side)) for side in (bot, caller))
    metrics, room, ear = CallMetrics(), Room(delay_ms, loss_db, seed=seed), Playback()
    path = EchoPath("auto", metrics)
    stage, audio = EchoCanceller(path), CallAudio([path], lambda: now_s)
    near, out, found_s, frame = b"", list[NDArray[np.int16]](), None, b""
    echo, filtered = list[Floats](), list[Floats]()
    for begin in range(0, len(said), PACKET_SAMPLES):
        leaves_s = (begin + PACKET_SAMPLES) / PHONE_RATE_HZ
        echo.append(room.echo(ear, begin, PACKET_SAMPLES))
        frame += room.packet(said[begin : begin + PACKET_SAMPLES], ear, begin)
        now_s = max(now_s, leaves_s + rng.uniform(0, jitter_ms / 1000))
        if len(frame) < PHONE_FRAME_SAMPLES:
            continue
        samples = np.frombuffer(g711.decode(frame), "<i2")
        audio.said(samples)
        out.append(np.frombuffer(stage.clean(samples.tobytes()), "<i2"))
        filtered.append(path.canceller.filtered if path.canceller.is_on else pcm.to_float(samples.tobytes()))
        near, frame = near + frame, b""
        if found_s is None and metrics.echo is not None:
            found_s = now_s
        answer = sent[len(near) - PHONE_FRAME_SAMPLES : len(near)]
        now_s += STEP_S
        audio.heard(np.frombuffer(g711.decode(answer), "<i2"))
        arrives_s = max(arrives_s, now_s + rng.uniform(0, jitter_back_ms / 1000))
        ear.media(answer, arrives_s)
    late = round(DELAY_MS * PHONE_RATE_HZ / 1000) if path.canceller.is_on else 0
    heard = pcm.to_float(np.concatenate(out).tobytes())[late:]
    sides = [pcm.to_float(g711.decode(near)), np.concatenate(echo), np.concatenate(filtered), heard]
    measured = slice(FROM_S * PHONE_RATE_HZ, len(heard))
    less_db = echo_less_db(*(side[measured].astype(np.float64) for side in sides))
    if not talks:
        return Outcome(found_s, less_db, None)
    alone = pcm.to_float(g711.decode(said))
    return Outcome(found_s, less_db, stoi(alone[measured], heard[measured], PHONE_RATE_HZ))


def echo_less_db(near: Signal, echo: Signal, filtered: Signal, out: Signal) -> float:
    """Return by how many dB at least the echo is weaker in the canceller's output.

    ``near`` without ``echo`` is the caller's voice and the phone's µ-law noise, which may be stronger than
    the residual of a weak echo. All else in ``out`` counts as echo, including the damage to the caller's
    voice. In a block in which that is more than the linear filter's residual, the residual counts instead:
    behind the filter, AEC3 only attenuates.

    Args:
        near: the caller's audio, float64 ``[n]``, as all of these.
        echo: the echo in it, before the phone's µ-law.
        filtered: the caller's audio behind the linear filter.
        out: the canceller's output, without its delay.
    """
    blocks = len(out) // PACKET_SAMPLES
    energies = [
        np.sum(part[: blocks * PACKET_SAMPLES].reshape(blocks, PACKET_SAMPLES) ** 2, axis=1)
        for part in (echo, filtered - (near - echo), out - (near - echo))
    ]
    left = np.minimum(energies[1], energies[2])
    return 10 * float(np.log10((energies[0].sum() + 1e-9) / (left.sum() + 1e-9)))


def _speech(path: str) -> Floats:
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    clip = 0.5 * soxr.resample(samples[:, 0], rate_hz, PHONE_RATE_HZ)
    return np.resize(np.concatenate((clip, np.zeros(1600, np.float32))), int(SECS * PHONE_RATE_HZ))


def worst(outcomes: list[Outcome]) -> Outcome:
    """Return the worst value of each kind."""
    found_s = [outcome.found_s for outcome in outcomes]
    scores = [outcome.stoi for outcome in outcomes if outcome.stoi is not None]
    return Outcome(
        None if None in found_s else max(at_s for at_s in found_s if at_s is not None),
        min(outcome.less_db for outcome in outcomes),
        min(scores, default=None),
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the echo canceller in simulated calls.")
    parser.add_argument("--calls", type=int, default=3, metavar="N", help="calls a line (default: 3)")
    parser.add_argument("--jitter-ms", type=float, default=JITTER_MS, help="of the caller's packets")
    parser.add_argument("--jitter-back-ms", type=float, default=0.0, help="of the bot's audio")
    parser.add_argument("--delay-ms", type=float, action="append", help="only this delay; may be repeated")
    parser.add_argument("--no-pauses", action="store_true", help="the caller and the bot never pause")
    options = parser.parse_args(arguments)
    print(row("echo ms", "dB down", "caller", "found after s", "echo less, dB", "caller's STOI"))
    print(row(*["---"] * 6))
    for delay_ms, loss_db, talks in product(options.delay_ms or DELAYS_MS, LOSSES_DB, (False, True)):
        if options.no_pauses and not talks:
            continue
        jitter = {"jitter_ms": options.jitter_ms, "jitter_back_ms": options.jitter_back_ms}
        found = worst(
            [
                simulate(delay_ms, loss_db, talks=talks, pauses=not options.no_pauses, seed=seed, **jitter)
                for seed in range(1, options.calls + 1)
            ]
        )
        after = "-" if found.found_s is None else f"{found.found_s:.1f}"
        heard = "-" if found.stoi is None else f"{found.stoi:.3f}"
        speaks = "speaks" if talks else "silent"
        print(row(f"{delay_ms:g}", loss_db, speaks, after, f"{found.less_db:.0f}", heard))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
