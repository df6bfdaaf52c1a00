"""Passing of listening sockets to other processes of the same user on this machine.

A receiver listens on the same socket, not on another one at the same port. All of them share its queue of
connections, so none is lost when one of them ends.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_MAX_SOCKETS = 8
_NAMES_BYTES = 1024
_WITHIN_SECS = 3.0  # timeout of a local connection
_OLD_SECS = 60.0  # younger folders may still be in use
_PREFIX = "moshi-gateways-"


class NotOffered(Exception):
    """The process with the sockets is gone. The text is one sentence."""


@asynccontextmanager
async def offering(
    sockets: Mapping[str, socket.socket], taken: asyncio.Event | None = None
) -> AsyncIterator[str]:
    """Pass these sockets to each process that connects, while the block runs; yield the path to connect to.

    Args:
        sockets: bound sockets, by name; a few.
        taken: set when a process has received them.
    """
    await asyncio.to_thread(_sweep)
    # Not below TMPDIR: a socket's path may have no more than a hundred characters. Only its owner may enter.
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir="/tmp") as folder:
        path = str(Path(folder) / "s")
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.setblocking(False)
            listener.listen()
            names = ",".join(sockets).encode()

            def give() -> None:
                try:
                    taker, _ = listener.accept()
                except OSError:
                    return  # the receiver did not wait
                with taker:  # this few bytes never block
                    socket.send_fds(taker, [names], [each.fileno() for each in sockets.values()])
                if taken is not None:
                    taken.set()

            loop.add_reader(listener, give)
            try:
                yield path
            finally:
                loop.remove_reader(listener)


async def offered(path: str) -> dict[str, socket.socket]:
    """Receive the sockets that another process offers.

    Raises:
        NotOffered: when it is gone.
    """
    return await asyncio.to_thread(_take, path)


def _sweep() -> None:
    """Remove the folders of processes that were killed."""
    for folder in Path("/tmp").glob(f"{_PREFIX}*"):  # noqa: S108
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            if time.time() - folder.stat().st_mtime < _OLD_SECS:
                continue  # just being created or removed
            connection.settimeout(_WITHIN_SECS)
            try:
                connection.connect(str(folder / "s"))
            except (ConnectionRefusedError, FileNotFoundError):
                shutil.rmtree(folder)


def _take(path: str) -> dict[str, socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_WITHIN_SECS)
        try:
            connection.connect(path)
            names, numbers, _, _ = socket.recv_fds(connection, _NAMES_BYTES, _MAX_SOCKETS)
        except OSError as error:
            raise NotOffered(f"Nobody offers the gateways' sockets at {path} ({error.strerror}).") from error
    sockets = [socket.socket(fileno=number) for number in numbers]
    for each in sockets:
        each.set_inheritable(False)
    return dict(zip(names.decode().split(","), sockets, strict=True))
