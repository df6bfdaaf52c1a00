"""A stand-in for cloudflared: a real process that does what the test commands, at the test's time.

``FakeCloudflared`` writes an executable named ``cloudflared`` and waits for its processes; each reports its
arguments, and then executes the test's commands in order. So no test waits for time to pass, and none depends
on the machine's speed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

URL = "https://fast-red-fox-runs.trycloudflare.com"
BANNER = [
    "2026-01-01T00:00:00Z INF Thank you for trying Cloudflare Tunnel. Doing so, without a Cloudflare "
    "account, is a quick way to experiment. Read https://developers.cloudflare.com/cloudflare-one/connections/",
    "2026-01-01T00:00:00Z INF Requesting new quick Tunnel on trycloudflare.com...",
    "2026-01-01T00:00:01Z INF +--------------------------------------------------------------------+",
    "2026-01-01T00:00:01Z INF |  Your quick Tunnel has been created! Visit it at (it may take some "
    "time to be reachable):  |",
]
API_ERROR = (
    "2026-01-01T00:00:00Z ERR Error unmarshaling QuickTunnel response: failed to request quick Tunnel: Post "
    '"https://api.trycloudflare.com/tunnel": dial tcp: lookup api.trycloudflare.com: no such host'
)

_SCRIPT = r"""#!{python} -ES
import json, os, signal, socket, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if "--version" in sys.argv:
    print("cloudflared version 2026.1.0 (built 2026-01-01-00:00 UTC)")
    sys.exit()
boss = socket.create_connection(("127.0.0.1", {port}))
tell = lambda **what: boss.sendall(json.dumps(what).encode() + b"\n")
state = dict(ready=False, deaf=False, host="")

class Metrics(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(dict(hostname=state["host"])).encode()
        self.send_response(200 if state["ready"] or self.path != "/ready" else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

def on_sigterm(*_):
    tell(sigterm=True)
    if not state["deaf"]:
        os._exit(0)

signal.signal(signal.SIGTERM, on_sigterm)
host, _, metrics_port = sys.argv[sys.argv.index("--metrics") + 1].partition(":")
server = ThreadingHTTPServer((host, int(metrics_port)), Metrics)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
config = sys.argv[sys.argv.index("--config") + 1]
tell(argv=sys.argv[1:], pid=os.getpid(), config=open(config).read())

def obey():
    for line in boss.makefile():
        order = json.loads(line)
        for text in order.get("log", []):
            print(text, file=sys.stderr, flush=True)
        state.update(order.get("state", dict()))
        if "exit" in order:
            os._exit(order["exit"])
        tell(done=True)
    os._exit(99)  # the test is over

threading.Thread(target=obey).start()
while True:
    signal.pause()
"""


class Run:
    """One process of the fake.

    Attributes:
        argv: its arguments.
        config: the content of its configuration file.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.argv: list[str] = []
        self.config = ""
        self.pid = 0

    async def told(self) -> dict[str, Any]:
        """Wait for the process's next report; None once it has ended."""
        line = await self._reader.readline()
        return json.loads(line) if line else {}

    async def log(self, *lines: str) -> None:
        """Print lines to stderr."""
        await self._do(log=lines)

    async def be_ready(self, url: str | None = URL) -> None:
        """Print the banner with the URL, if any, and answer 200 at /ready from now on."""
        banner = [*BANNER, f"2026-01-01T00:00:01Z INF |  {url}  |"] if url else []
        await self._do(log=banner, state={"ready": True})

    async def lose_connection(self) -> None:
        """Answer 503 at /ready from now on, and keep running."""
        await self._do(state={"ready": False})

    async def ignore_sigterm(self) -> None:
        """Only report SIGTERM from now on."""
        await self._do(state={"deaf": True})

    async def die(self, code: int) -> None:
        """Exit."""
        self._send({"exit": code})
        while await self.told():
            pass

    async def _do(self, **order: Any) -> None:
        self._send(order)
        while not (await self.told()).get("done"):
            pass

    def _send(self, order: dict[str, Any]) -> None:
        self._writer.write(json.dumps(order).encode() + b"\n")

    def close(self) -> None:
        self._writer.close()


class FakeCloudflared:
    """The executable, and the listener for its processes.

    Attributes:
        path: the executable; its folder can be put on ``PATH``.
        ready_at_once: whether each process becomes ready without a command.
    """

    def __init__(self, folder: Path, *, ready_at_once: bool = False) -> None:
        self.path = folder / "cloudflared"
        self.ready_at_once = ready_at_once
        self.runs: asyncio.Queue[Run] = asyncio.Queue()
        self._all: list[Run] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.path.write_text(_SCRIPT.replace("{python}", sys.executable).replace("{port}", str(port)))
        self.path.chmod(0o755)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in self._all:
            run.close()
        self._server.close()
        await self._server.wait_closed()

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        run = Run(reader, writer)
        self._all.append(run)
        hello = await run.told()
        run.argv, run.pid, run.config = hello["argv"], hello["pid"], hello["config"]
        if self.ready_at_once:
            await run.be_ready()
        self.runs.put_nowait(run)
