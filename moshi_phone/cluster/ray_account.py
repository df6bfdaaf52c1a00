"""Detached processes of one account in an external Ray cluster; they outlive the command."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any

from loguru import logger

from moshi_phone.cluster.ray_runtime import on_this_machine, transport
from moshi_phone.cluster.rpc import RpcClient, RpcError
from moshi_phone.cluster.runtime import ActorName, parse_actor_name
from moshi_phone.runtime.fd_passing import NotOffered, offered
from moshi_phone.server.settings import SettingsError

LOCKED_SECS = 10.0
"""How long to wait for another command's end; Ray takes seconds to notice a killed one."""
GONE_SECS = 10.0
OFFER_SECS = 3.0

Left = tuple[ActorName, Any]
"""A running process: its name and its handle."""


class _Command:
    """A marker actor of the running command; it dies with the command."""


class RayAccount:
    """The processes of one account. As a context manager, a lock: only one command can manage them.

    Args:
        account: the ``digest`` of the account's auth token.
        address: address of the Ray cluster, already joined.
    """

    def __init__(self, account: str, address: str) -> None:
        import ray  # noqa: PLC0415 - an extra

        self._ray = ray
        self._account = account
        self._address = address
        self._command: Any = None  # the marker actor, while this process holds the lock

    def __enter__(self) -> RayAccount:
        """Acquire the lock.

        Raises:
            SettingsError: when another command holds it.
        """
        name = f"moshi-{self._account}-command"
        # Ray guarantees unique actor names, so the name is the lock.
        command = self._ray.remote(_Command).options(name=name, num_cpus=0, **on_this_machine())
        began_s = time.monotonic()
        while self._command is None:
            try:
                self._command = command.remote()
            except ValueError as error:  # the name is taken
                if time.monotonic() - began_s > LOCKED_SECS:
                    raise SettingsError(
                        f"A cluster command runs already for this account at {self._address}; "
                        "tell it to update or scale, or stop it first."
                    ) from error
                time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self._ray.kill(self._command)

    def left(self) -> list[Left]:
        """Return the account's running processes."""
        names = [parse_actor_name(text) for text in self._ray.util.list_named_actors()]
        left = []
        for name in names:
            if name is not None and name.account == self._account:
                try:
                    left.append((name, self._ray.get_actor(str(name))))
                except ValueError:
                    continue  # it has just ended
        return left

    @contextmanager
    def leaving_nothing(self) -> Iterator[None]:
        """Kill all processes after the block; if it raises, keep those that ran before it."""
        before = {name for name, _ in self.left()}
        try:
            yield
        except BaseException:
            self._end_all(before)
            raise
        self._end_all(set())

    def _end_all(self, besides: set[ActorName]) -> None:
        """Kill them and wait for their end: Ray may lose requests made just before disconnecting."""
        deadline_s = time.monotonic() + GONE_SECS
        while time.monotonic() < deadline_s:
            left = [handle for name, handle in self.left() if name not in besides]
            if not left:
                return
            for handle in left:
                self._ray.kill(handle)
            time.sleep(0.2)


async def sockets_of_gateways(left: list[Left]) -> dict[str, socket]:
    """Fetch the listening sockets from a running gateway, by name (``cluster/gateway.py``)."""
    for name, handle in left:
        if name.kind != "gateway":
            continue
        gateway = RpcClient(f"d{name.number}", transport(handle))
        try:
            if path := await gateway.ask("offer", within_secs=OFFER_SECS):
                return await offered(path)
        except (RpcError, NotOffered) as error:
            logger.warning("{}", error)
    return {}
