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


@dataclass(frozen=True)
class Outcome:
    """Measurements of one call, from its fifth second on.

    Attributes:
        found_s: when the echo was found; None where it was not.
        less_db: how much less of it reached the engine.
        stoi: of the caller's speech there, against that speech without an echo; None where they were silent.
    """

    found_s: float | None
    less_db: float
    stoi: float | None


def simulate(
    delay_ms: float,
    loss_db: float,
    *,
    talks: bool,
    jitter_ms: float = JITTER_MS,
    jitter_back_ms: float = 0.0,
    seed: int = 1,
) -> Outcome:
    """Make one call of 20 s.

    Args:
        delay_ms: of the echo.
        loss_db: of the echo.
        talks: whether the caller speaks as well, for four seconds of six, two of them while the bot does.
        jitter_ms: largest delay of the caller's packets; each delay is random.
        jitter_back_ms: the same for the bot's audio on its way to the phone.
        seed: of the jitter and the room.
    """
    rng, now_s, arrives_s = np.random.default_rng(seed), 0.0, 0.0
    at = np.arange(int(SECS * PHONE_RATE_HZ)) % int(TURN_S * PHONE_RATE_HZ) / PHONE_RATE_HZ
    bot = _speech(str(GREETING_FILE)) * ((at < BOT_UNTIL_S) if talks else True)
    caller = (
        _speech(str(CALLER_FILE)) * ((at >= CALLER_FROM_S) | (at < CALLER_UNTIL_S))
        if talks
        else np.zeros(len(at), np.float32)
    )
    sent, said = (g711.encode(pcm.to_bytes(side.astype(np.float32))) for side in (bot, caller))
    metrics, room, ear = CallMetrics(), Room(delay_ms, loss_db, seed=seed), Playback()
    path = EchoPath("auto", metrics)
    stage, audio = EchoCanceller(path), CallAudio([path], lambda: now_s)
    near, out, found_s, frame = b"", list[NDArray[np.int16]](), None, b""
    for begin in range(0, len(said), PACKET_SAMPLES):
        leaves_s = (begin + PACKET_SAMPLES) / PHONE_RATE_HZ
        frame += room.packet(said[begin : begin + PACKET_SAMPLES], ear, begin)
        now_s = max(now_s, leaves_s + rng.uniform(0, jitter_ms / 1000))
        if len(frame) < PHONE_FRAME_SAMPLES:
            continue
        samples = np.frombuffer(g711.decode(frame), "<i2")
        audio.said(samples)
        out.append(np.frombuffer(stage.clean(samples.tobytes()), "<i2"))
        near, frame = near + frame, b""
        if found_s is None and metrics.echo is not None:
            found_s = now_s
        answer = sent[len(near) - PHONE_FRAME_SAMPLES : len(near)]
        now_s += STEP_S
        audio.heard(np.frombuffer(g711.decode(answer), "<i2"))
        arrives_s = max(arrives_s, now_s + rng.uniform(0, jitter_back_ms / 1000))
        ear.media(answer, arrives_s)
    return _outcome(found_s, caller, np.frombuffer(g711.decode(near), "<i2"), np.concatenate(out), metrics)


def _outcome(
    found_s: float | None,
    caller: Floats,
    near: NDArray[np.int16],
    out: NDArray[np.int16],
    metrics: CallMetrics,
) -> Outcome:
    late = round(DELAY_MS * PHONE_RATE_HZ / 1000) if metrics.echo_canceller_ms else 0
    begin = FROM_S * PHONE_RATE_HZ
    end = len(out) - late
    alone = np.frombuffer(g711.decode(g711.encode(pcm.to_bytes(caller))), "<i2")[begin:end].astype(np.float64)
    before, after = near[begin:end].astype(np.float64), out[begin + late : end + late].astype(np.float64)
    if not alone.any():
        return Outcome(found_s, _db(before) - _db(after), None)
    echo = before - alone
    return Outcome(found_s, _db(echo) - _db(_of(echo, after - alone)), stoi(alone, after, PHONE_RATE_HZ))


def _of(echo: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the echo's part of a residue for each second; the rest is quantization noise of µ-law."""
    taps, parts = 16, list[NDArray[np.float64]]()
    padded = np.pad(echo, taps)
    for begin in range(0, len(echo) - PHONE_RATE_HZ + 1, PHONE_RATE_HZ):
        shifted = np.stack(
            [padded[begin + tap : begin + tap + PHONE_RATE_HZ] for tap in range(2 * taps + 1)], axis=1
        )
        gram = shifted.T @ shifted
        gram[np.diag_indices_from(gram)] += 1e-6 * gram.trace() + 1e-9
        parts.append(shifted @ np.linalg.solve(gram, shifted.T @ rest[begin : begin + PHONE_RATE_HZ]))
    return np.concatenate(parts)


def _db(samples: NDArray[np.float64]) -> float:
    return 10 * float(np.log10(np.mean(samples**2) + 1e-3))


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
    options = parser.parse_args(arguments)
    print(row("echo ms", "dB down", "caller", "found after s", "echo less, dB", "caller's STOI"))
    print(row(*["---"] * 6))
    for delay_ms, loss_db, talks in product(options.delay_ms or DELAYS_MS, LOSSES_DB, (False, True)):
        jitter = {"jitter_ms": options.jitter_ms, "jitter_back_ms": options.jitter_back_ms}
        found = worst(
            [
                simulate(delay_ms, loss_db, talks=talks, seed=seed, **jitter)
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
