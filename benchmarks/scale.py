"""Estimates for many simultaneous calls: bandwidth, sessions, machines, webhooks, cost. Pure arithmetic.

``uv run python -m benchmarks.scale`` prints the tables of docs/scale.md. Each input has its source beside
it. This command measures only the sizes of messages.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import soundfile
import sphn

from benchmarks.erlang import sessions_for
from benchmarks.table import head, row
from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES, PHONE_FRAME_SAMPLES, SAMPLE_RATE_HZ
from moshi_phone.rehearse.clip import CALLER_FILE
from moshi_phone.telephony import media_stream

_LONG_BYTES = 126  # from this size on, a WebSocket frame's header has two more bytes
FRAMES_PER_S = 1000 / FRAME_MS
PACKETS_PER_S = 50  # Twilio's are 20 ms
PACKET_BYTES = 160
TCP_IP_BYTES = 52  # IPv4 and TCP with its timestamps
TLS_BYTES = 22  # a record of TLS 1.3
LOADS = (10, 100, 1_000, 1_000_000)
CALL_S = 180  # a mean length; an assumption, like the 1 % of refused calls
REFUSED = 0.01
WEBHOOKS_PER_CALL = 4  # /twiml, /status for the stream's start and its end, /status for the call's end
TOKENS_PER_FRAME = 17  # 1 for text, 8 for Moshi's voice, 8 for the caller's

# Measured on the shared 2-core Linux machine that README's figures come from.
LINE_CPU_MS = 12.8  # per call-second, with 16 simultaneous calls (python -m benchmarks.line)
OPUS_CPU_MS = 1.54 * FRAMES_PER_S  # both directions, per call-second
CODEC_MS = 45 + 42 + 14  # of one core, per frame: Mimi in and out, and handovers
# Reckoned from the sizes of the model's arrays (README).
FIRST_CALL_GB, NEXT_CALL_GB = 8.5, 3.0
WEIGHTS_GB = 4.8  # read by a step with --quantize 4, once for all of its calls
CALL_GB = 1.6  # read by a step for each call with a full cache
# Counted in the graph of one step at full depth, on a processor: 2,357 operations that launch something for
# one call (3,506 uncompiled), 3,509 for eight.
ROW_LAUNCHES = 0.07  # share of one call's launches that each further call adds
COMPILED_LAUNCHES = 0.67  # share of the launches that remains after compiling
# Published for PersonaPlex, which has Moshi's sizes. Nothing of ours was run on either machine.
LAUNCHES_NVIDIA_MS = 30.0  # a step on an H100 with its launches recorded; 77.5 without
LAUNCHES_APPLE_MS = 68.0 * COMPILED_LAUNCHES  # a step of an MLX port on an M2 Max at best; 158 at worst
# Assumptions.
CPU_SHARE = 0.5  # usable share of a core, so that frames are not late
MEMORY_SHARE = 0.8  # usable share of the memory
STEP_SHARE = 0.8  # usable share of 80 ms for all steps
WEBHOOK_CPU_MS = (
    2.0  # of which the app takes 0.3 (python -m benchmarks.webhooks); HTTP, log and asking a worker the rest
)
BANDWIDTH_SHARE = 0.5  # share of the memory's bandwidth that a step reaches


@dataclass(frozen=True)
class Machine:
    """A machine that runs Moshi in this program, from its vendor's data sheet.

    Attributes:
        name: the product's name.
        memory_gb: memory for the model.
        bandwidth_gb_s: of that memory.
        cores: for the codec; an assumption for a machine with a graphics card.
        launches_ms: duration of the launches of one call's step.
    """

    name: str
    memory_gb: int
    bandwidth_gb_s: int
    cores: int
    launches_ms: float

    def step_ms(self, calls: int) -> float:
        """Minimum duration of a step with a number of calls: by its bytes or by its launches."""
        read_ms = 1000 * (WEIGHTS_GB + CALL_GB * calls) / (self.bandwidth_gb_s * BANDWIDTH_SHARE)
        return max(read_ms, self.launches_ms * (1 + ROW_LAUNCHES * (calls - 1)))

    @property
    def bounds(self) -> tuple[int, int, int]:
        """Number of calls that memory, steps and the codec allow, each alone."""
        room_gb = self.memory_gb * MEMORY_SHARE - FIRST_CALL_GB
        steps = itertools.takewhile(lambda n: self.step_ms(n) <= FRAME_MS * STEP_SHARE, itertools.count(1))
        return (
            0 if room_gb < 0 else 1 + math.floor(room_gb / NEXT_CALL_GB),
            sum(1 for _ in steps),
            math.floor(self.cores * FRAME_MS / CODEC_MS),
        )

    @property
    def calls(self) -> int:
        """Number of calls that the machine holds."""
        return min(self.bounds)


MACHINES = (
    Machine("Mac mini, M4 Pro, 24 GB", 24, 273, 12, LAUNCHES_APPLE_MS),
    Machine("Mac Studio, M4 Max, 64 GB", 64, 546, 16, LAUNCHES_APPLE_MS),
    Machine("Mac Studio, M3 Ultra, 96 GB", 96, 819, 28, LAUNCHES_APPLE_MS),
    Machine("NVIDIA L4, 24 GB, 8 cores", 24, 300, 8, LAUNCHES_NVIDIA_MS),
    Machine("NVIDIA H100, 80 GB, 32 cores", 80, 3350, 32, LAUNCHES_NVIDIA_MS),
)


def message_from_twilio() -> str:
    """Write a packet of the caller as Twilio does, in the middle of a call."""
    payload = base64.b64encode(bytes(PACKET_BYTES)).decode()
    body = {"track": "inbound", "chunk": "4500", "timestamp": "90000", "payload": payload}
    sid = "MZ" + "0" * 32
    message = {"event": "media", "sequenceNumber": "4501", "media": body, "streamSid": sid}
    return json.dumps(message, separators=(",", ":"))


def message_to_twilio() -> str:
    """Write a frame for the caller as this line does."""
    return media_stream.media("MZ" + "0" * 32, bytes(PHONE_FRAME_SAMPLES))


def wire_bytes(message_bytes: int, *, masked: bool) -> int:
    """Return the bytes of a WebSocket message in its own packet, including the IP header.

    Args:
        message_bytes: of the message alone; below 64 kB.
        masked: whether it goes from the client to the server.
    """
    header = (2 if message_bytes < _LONG_BYTES else 4) + (4 if masked else 0)
    return message_bytes + header + TLS_BYTES + TCP_IP_BYTES


def phone_kbit_s() -> tuple[float, float]:
    """Return a call's kbit/s from Twilio and to Twilio."""
    from_twilio = wire_bytes(len(message_from_twilio()), masked=True) * PACKETS_PER_S
    to_twilio = wire_bytes(len(message_to_twilio()), masked=False) * FRAMES_PER_S
    return from_twilio * 8 / 1000, to_twilio * 8 / 1000


def opus_kbit_s() -> tuple[float, float]:
    """Return a call's kbit/s to a remote server and from it: the rehearsal's caller, as Opus."""
    samples, rate_hz = soundfile.read(CALLER_FILE, dtype="float32")
    speech = sphn.resample(samples[None, :], rate_hz, SAMPLE_RATE_HZ)[0]
    writer = sphn.OpusStreamWriter(SAMPLE_RATE_HZ)
    ends = range(FRAME_SAMPLES, len(speech) + 1, FRAME_SAMPLES)
    sizes = [1 + len(writer.append_pcm(speech[end - FRAME_SAMPLES : end])) for end in ends]  # 1: its kind
    secs = len(sizes) / FRAMES_PER_S
    to_server, from_server = (
        sum(wire_bytes(size, masked=masked) for size in sizes) for masked in (True, False)
    )
    return to_server * 8 / 1000 / secs, from_server * 8 / 1000 / secs


def bandwidth() -> Iterator[str]:
    """Print a call's bandwidth."""
    ours, theirs = wire_bytes(len(message_to_twilio()), masked=False), len(message_from_twilio())
    yield from head(
        "way", "message bytes", "packet bytes", "a second", "kbit/s a call", "1,000 calls", "1,000,000 calls"
    )
    rates = (phone_kbit_s(), opus_kbit_s())
    yield _way("from Twilio", theirs, wire_bytes(theirs, masked=True), PACKETS_PER_S, rates[0][0])
    yield _way("to Twilio", len(message_to_twilio()), ours, FRAMES_PER_S, rates[0][1])
    yield _way("to a server elsewhere (Opus)", "", "", FRAMES_PER_S, rates[1][0])
    yield _way("from a server elsewhere (Opus)", "", "", FRAMES_PER_S, rates[1][1])


def _way(name: str, message: object, packet: object, per_s: float, kbit_s: float) -> str:
    return row(
        name, message, packet, f"{per_s:g}", f"{kbit_s:.0f}", f"{kbit_s:.0f} Mbit/s", f"{kbit_s:.0f} Gbit/s"
    )


def sessions() -> Iterator[str]:
    """Print the sessions for a load, and the resources for them."""
    yield from head(
        "calls at once, on average",
        "sessions for 1 % refused",
        "of them in use",
        "for 0.1 % refused",
        "calls a second",
        "webhooks a second",
        "cores for these",
        "Moshi's tokens a second",
    )
    for load in LOADS:
        count, rate = sessions_for(load, REFUSED), load / CALL_S
        webhooks = rate * WEBHOOKS_PER_CALL
        yield row(
            f"{load:,}",
            f"{count:,}",
            f"{100 * load * (1 - REFUSED) / count:.0f} %",
            f"{sessions_for(load, REFUSED / 10):,}",
            f"{rate:,.2f}",
            f"{webhooks:,.1f}",
            f"{webhooks * WEBHOOK_CPU_MS / 1000 / CPU_SHARE:,.2f}",
            f"{load * FRAMES_PER_S * TOKENS_PER_FRAME:,.0f}",
        )


def machines() -> Iterator[str]:
    """Print the calls per machine, and the machines for a load."""
    yield from head("who answers", "calls", "bound by", "for 1,000 calls", "for 1,000,000 calls")
    for name, cpu_ms in (
        ("parrot: a core", LINE_CPU_MS),
        ("servers elsewhere: a core of the line before them", LINE_CPU_MS + OPUS_CPU_MS),
    ):
        calls = math.floor(1000 * CPU_SHARE / cpu_ms)
        yield _needed(name, calls, f"{cpu_ms:.0f} ms of CPU a call-second")
    yield _needed("Kyutai's Python server, PersonaPlex: a process, a card", 1, "one call a process")
    for machine in MACHINES:
        memory, steps, codec = machine.bounds
        took = f"{machine.step_ms(machine.calls):.0f} ms for all" if machine.calls else "no call"
        why = f"memory {memory}, steps {steps} ({took}), codec {codec}"
        yield _needed(f"Moshi, `--quantize 4`: {machine.name}", machine.calls, why)


def _needed(name: str, calls: int, why: str) -> str:
    return row(
        name, calls, why, *(f"{math.ceil(sessions_for(load, REFUSED) / calls):,}" for load in LOADS[2:])
    )


@dataclass(frozen=True)
class Prices:
    """Prices per hour; the defaults are round numbers, not real prices."""

    machine_hour: float = 1.0
    phone_minute: float = 0.01
    gigabyte: float = 0.05


def cost_per_hour(load: float, calls_each: int, prices: Prices) -> tuple[float, float, float]:
    """Return the cost of an hour: machines, telephone, outgoing bytes.

    Args:
        load: mean number of simultaneous calls.
        calls_each: calls per machine.
        prices: in any currency.
    """
    count = math.ceil(sessions_for(load, REFUSED) / calls_each)
    gigabytes = load * phone_kbit_s()[1] * 1000 / 8 * 3600 / 1e9
    return count * prices.machine_hour, load * 60 * prices.phone_minute, gigabytes * prices.gigabyte


def cost() -> Iterator[str]:
    """Print an hour's cost at the example's prices."""
    yield from head(
        "calls at once",
        "calls a machine",
        "machines × 1.00",
        "minutes × 0.01",
        "GB × 0.05",
        "an hour",
        "a call-minute",
    )
    for load in LOADS[1:]:
        for calls_each in (1, 4, 16):
            parts = cost_per_hour(load, calls_each, Prices())
            total = sum(parts)
            cells = (f"{part:,.0f}" for part in (*parts, total))
            yield row(f"{load:,}", calls_each, *cells, f"{total / load / 60:.3f}")


TABLES = {"Bandwidth": bandwidth, "Sessions": sessions, "Machines": machines, "Cost": cost}

if __name__ == "__main__":
    for title, table in TABLES.items():
        print(f"{title}\n")
        print("\n".join(table()), end="\n\n")
