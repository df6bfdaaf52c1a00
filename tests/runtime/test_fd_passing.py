"""runtime/fd_passing.py: one listening socket, several holders."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from moshi_phone.runtime.fd_passing import NotOffered, offered, offering


async def test_pending_connections_survive_the_end_of_one_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as here:
        async with offering({"gateway": here}) as path:
            theirs = (await offered(path))["gateway"]
        assert theirs.getsockname() == here.getsockname()
        with socket.create_connection(here.getsockname()) as caller:
            here.close()
            caller.sendall(b"hello")
            theirs.setblocking(False)
            display_name, _ = await asyncio.get_running_loop().sock_accept(theirs)
            with theirs, display_name:
                assert await asyncio.get_running_loop().sock_recv(display_name, 99) == b"hello"


async def test_the_socket_s_folder_is_private_and_removed_afterwards() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        async with offering({"gateway": one, "admin": other}) as path:
            assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
            taken = await offered(path)
            assert {name: each.getsockname() for name, each in taken.items()} == {
                "gateway": one.getsockname(),
                "admin": other.getsockname(),
            }
            for each in taken.values():
                assert not each.get_inheritable()
                each.close()
        assert not Path(path).parent.exists()
    with pytest.raises(NotOffered, match=f"Nobody offers the gateways' sockets at {path} "):
        await offered(path)


@pytest.fixture
def dead() -> Path:
    """The files that a killed process has left."""
    folder = Path(tempfile.mkdtemp(prefix="moshi-gateways-", dir="/tmp"))
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(folder / "s"))
    os.utime(folder, (0, 0))
    return folder


async def test_files_of_killed_processes_are_removed_and_others_kept(dead: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as port:
        async with offering({"gateway": port}) as lives:
            os.utime(Path(lives).parent, (0, 0))
            async with offering({"gateway": port}):
                assert not await asyncio.to_thread(dead.exists)
            for each in (await offered(lives)).values():
                each.close()
