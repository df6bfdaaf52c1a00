"""A call with Kyutai's real server: whether audio comes back, and how much delay this line adds.

``uv run python -m benchmarks.kyutai_server``. The server is ``moshi`` 0.2.13 from PyPI in an environment of
its own (PyTorch: 3 GB, installed by uv), with a tiny random model and a full-size Mimi on the CPU, where a
frame takes longer than 80 ms. Therefore two calls are made: one in real time, to check the returned audio,
and one with frames so far apart that none waits for another, to measure the delay. The parrot is measured in
the same way. The server's own time for each frame is read from its log.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from streamdouble.protocol import MediaStreamEncoder, StreamIdentity
from websockets.asyncio.client import connect

from benchmarks.serving import serving
from moshi_phone.commands.random_model import write_random_mimi, write_tiny_tokenizer
from moshi_phone.rehearse.caller import Caller
from moshi_phone.rehearse.clip import CALLER_FILE, caller_speech

MOSHI = "moshi==0.2.13"
READY_SECS = 1200.0  # includes a download of PyTorch
CODEC_MS = 2 * 6.46  # Opus's look-ahead in both directions, which the measured times do not contain
PACKETS = 4  # packets of 20 ms in a frame
PACKET_BYTES = 160
_STEP = re.compile(r"frame handled in ([0-9.]+)ms")
_STEADY_FRAMES = 5  # the earlier ones are a warm-up


@dataclass
class KyutaiServer:
    """The running server.

    Attributes:
        port: of the server.
        steps_ms: its reported time of each frame.
        said: its last lines.
    """

    port: int
    steps_ms: list[float] = field(default_factory=list[float])
    said: list[str] = field(default_factory=list[str])

    def read(self, process: subprocess.Popen[str]) -> None:
        """Read its log to the end."""
        assert process.stdout is not None  # noqa: S101 - created as a pipe
        for line in process.stdout:
            self.said = [*self.said[-20:], line.rstrip()]
            if match := _STEP.search(line):
                self.steps_ms.append(float(match[1]))


@contextmanager
def kyutai_server(python: str | None) -> Iterator[KyutaiServer]:
    """Write the model's files, and run the server while the block runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_random_mimi(folder / "mimi.safetensors")
        write_tiny_tokenizer(folder / "tokenizer.model", 200)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            server = KyutaiServer(probe.getsockname()[1])
        runner = [python] if python else ["uv", "run", "--no-project", "--with", MOSHI, "python"]
        child = str(Path(__file__).with_name("kyutai_child.py"))
        process = subprocess.Popen(  # noqa: S603 - our own script
            [*runner, "-u", child, str(folder), str(server.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        reading = threading.Thread(target=server.read, args=(process,), daemon=True)
        reading.start()
        try:
            _wait(server, process)
            yield server
        finally:
            process.terminate()
            process.wait()
            reading.join()


def _wait(server: KyutaiServer, process: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + READY_SECS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise SystemExit("Kyutai's server did not start:\n" + "\n".join(server.said))
        time.sleep(0.5)


async def real_time(port: int, secs: float) -> str:
    """Call in real time, and describe the answers."""
    record = await Caller(f"ws://127.0.0.1:{port}/stream", caller_speech(CALLER_FILE, secs)).call()
    if failed := record.refused or record.broken:
        raise SystemExit(f"The call failed: {failed}")
    arrivals_s = [segment.arrived_s - record.began_s for segment in record.ear.segments]
    pauses_s = np.diff([0.0, *arrivals_s, record.secs])
    heard_s = sum(len(segment.mulaw) for segment in record.ear.segments) / 8000
    return (
        f"{secs:g} s in real time: {heard_s:.1f} s of audio came back, the first after {arrivals_s[0]:.2f}, "
        f"the last at {arrivals_s[-1]:.1f} s, never more than {max(pauses_s):.2f} s apart"
    )


async def apart(port: int, frames: int, apart_s: float) -> list[float]:
    """Send frame after frame, far apart, and return the milliseconds from each to its answer."""
    said = caller_speech(CALLER_FILE, frames * 0.08)
    encoder = MediaStreamEncoder(StreamIdentity())
    arrived_s: list[float] = []
    async with connect(f"ws://127.0.0.1:{port}/stream", compression=None) as socket_:

        async def listen() -> None:
            async for message in socket_:
                event = json.loads(message)
                if event["event"] == "media" and base64.b64decode(event["media"]["payload"]):
                    arrived_s.append(time.perf_counter())

        listening = asyncio.create_task(listen())
        await socket_.send(json.dumps(encoder.connected()))
        await socket_.send(json.dumps(encoder.start()))
        await asyncio.sleep(2)  # the server's handshake: frames before it have no answer
        delays_ms = list[float]()
        for number in range(frames):
            at = number * PACKETS * PACKET_BYTES
            before = len(arrived_s)
            for packet in range(PACKETS):
                chunk = said[at + packet * PACKET_BYTES : at + (packet + 1) * PACKET_BYTES]
                await socket_.send(json.dumps(encoder.media(chunk)))
            sent_s = time.perf_counter()
            await asyncio.sleep(apart_s)
            if len(arrived_s) > before and number >= _STEADY_FRAMES:
                delays_ms.append((arrived_s[before] - sent_s) * 1000)
        await socket_.send(json.dumps(encoder.stop()))
        await listening
    return delays_ms


def main(arguments: argparse.Namespace) -> None:
    """Make the calls, and print the results."""
    options = ["bot.py", "--log-level", "warning", "--greeting", "none"]
    parrot = [*options, "--engine", "parrot", "--parrot-delay", "0"]
    with kyutai_server(arguments.python) as server, serving("the parrot", parrot) as (parrot_port, _):
        url = f"ws://127.0.0.1:{server.port}"
        with serving("the line", [*options, "--engine", "remote", "--server", url]) as (port, _):
            print(asyncio.run(real_time(port, arguments.secs)), flush=True)
            in_call = len(server.steps_ms)
            print(f"  the server took {np.median(server.steps_ms):.0f} ms a frame (p50), {in_call} frames")
            time.sleep(2)  # it processes its backlog
            server.steps_ms.clear()
            remote_ms = asyncio.run(apart(port, arguments.frames, arguments.apart_ms / 1000))
            steps_ms = server.steps_ms[_STEADY_FRAMES:]
        parrot_ms = asyncio.run(apart(parrot_port, arguments.frames, arguments.apart_ms / 1000))
    print(f"{len(remote_ms)} frames {arguments.apart_ms} ms apart, milliseconds to the answer, p50:")
    share_ms = float(np.median(remote_ms) - np.median(steps_ms))
    ours_ms = float(np.median(parrot_ms))
    print(f"  Kyutai's server {np.median(remote_ms):.1f}, of which its step {np.median(steps_ms):.1f}")
    print(f"  so the line {share_ms:.1f}, and {CODEC_MS:.1f} that Opus holds back: {share_ms + CODEC_MS:.1f}")
    print(
        f"  the parrot {ours_ms:.1f}; the line's own share is {share_ms + CODEC_MS - ours_ms:.1f} ms above it"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--secs", type=float, default=30, help="of the call in real time")
    parser.add_argument("--frames", type=int, default=100, help="of the call whose frames are apart")
    parser.add_argument("--apart-ms", type=int, default=400)
    parser.add_argument("--python", help=f"of an environment that has {MOSHI}; without it, uv makes one")
    print(f"$ python -m benchmarks.kyutai_server {' '.join(sys.argv[1:])}".rstrip())
    main(parser.parse_args())
