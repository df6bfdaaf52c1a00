"""Requests between the processes of a cluster: by the name of a method, bounded in time.

They carry no signatures: whoever can call an actor of Ray can run code in its process (docs/cluster.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Transport = Callable[[str, tuple[Any, ...]], Awaitable[Any]]
"""Carries a method's name and arguments to another process; gives its answer, or raises ``RpcError``."""


class RpcError(Exception):
    """Another process is gone, or too slow. The text says which."""


class RpcServer:
    """Base of what answers requests.

    Args:
        name: of the process, such as w1.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    async def ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Answer one request: call the method of this name."""
        return await getattr(self, method)(*arguments)


class RpcClient:
    """Sends requests to one other process.

    Args:
        name: of the other.
        transport: leads there.
    """

    def __init__(self, name: str, transport: Transport) -> None:
        self.name = name
        self._transport = transport

    async def ask(self, method: str, *arguments: Any, within_secs: float) -> Any:
        """Send a request, and give the answer.

        Raises:
            RpcError: when none comes within that time.
        """
        try:
            async with asyncio.timeout(within_secs):
                return await self._transport(method, arguments)
        except TimeoutError as error:
            raise RpcError(f"{self.name} did not answer {method} in {within_secs:g} s") from error
