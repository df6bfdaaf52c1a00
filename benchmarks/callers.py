"""Simulated callers in real time, over Twilio's protocol and through a model of its playout buffer.

``python -m benchmarks.callers --port 5001 --calls 8 --secs 20`` prints one JSON object a call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from dataclasses import asdict, dataclass

from benchmarks.bursts import delays_s, talk
from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.rehearse.caller import Caller
from moshi_phone.rehearse.record import PACKET_SAMPLES

_AFTER_S = 1.5  # from the last word to the hang-up


@dataclass(frozen=True)
class Heard:
    """One caller's measurements.

    Attributes:
        delays_ms: mouth to ear, for each burst; None for a lost one.
        first_audio_ms: from the start message to the first audio.
        gaps: times the playout buffer ran dry for 1 ms or more.
        late_ms: the longest delay of a packet's departure, which the simulated caller itself causes.
    """

    delays_ms: list[float | None]
    first_audio_ms: float
    gaps: int
    late_ms: float


async def call(
    url: str,
    seed: int,
    secs: float,
    *,
    call_sid: str | None = None,
    parameters: dict[str, str] | None = None,
) -> Heard:
    """Call once, talk for ``secs``, and measure.

    Args:
        url: the stream's.
        seed: of the bursts and their times.
        secs: duration of the talk.
        call_sid: the call's SID; by default one derived from the seed.
        parameters: of the TwiML, including the token.

    Raises:
        SystemExit: when the server does not answer, or closes the stream.
    """
    said = talk(secs, seed)
    await asyncio.sleep(random.Random(seed).uniform(0, 0.5))  # callers do not dial at the same moment
    mulaw = g711.encode(pcm.to_bytes(said.samples))
    mulaw += bytes([g711.SILENCE]) * (-len(mulaw) % PACKET_SAMPLES + round(_AFTER_S * PHONE_RATE_HZ))
    call_sid = call_sid or f"CA{seed:032x}"
    record = await Caller(url, mulaw, call_sid=call_sid, parameters=parameters).call()
    if failed := record.refused or record.broken:
        raise SystemExit(f"{url}: {failed}")
    ear = pcm.to_float(g711.decode(record.ear.heard(time.perf_counter()).tobytes()))
    spoken = len(said.samples) // PACKET_SAMPLES
    due_s = [record.began_s + (index + 1) * PACKET_SAMPLES / PHONE_RATE_HZ for index in range(spoken)]
    return Heard(
        delays_ms=[None if delay is None else round(delay * 1000, 3) for delay in delays_s(said, ear)],
        first_audio_ms=(
            (record.ear.segments[0].arrived_s - record.began_s) * 1000 if record.ear.segments else -1
        ),
        gaps=sum(gap.ms >= 1 for gap in record.ear.gaps),
        late_ms=max((left - due for left, due in zip(record.left_s, due_s, strict=False)), default=0) * 1000,
    )


async def _main(arguments: argparse.Namespace) -> None:
    heard = await asyncio.gather(
        *(
            call(f"ws://127.0.0.1:{arguments.port}/stream", arguments.seed + n, arguments.secs)
            for n in range(arguments.calls)
        )
    )
    for one in heard:
        print(json.dumps(asdict(one)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--secs", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(_main(parser.parse_args()))
