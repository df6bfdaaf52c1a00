"""Requests between a cluster's processes, by method name and with a timeout.

Requests are not signed: a client that can call a Ray actor can run code in its process (docs/cluster.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Transport = Callable[[str, tuple[Any, ...]], Awaitable[Any]]
"""Sends a method's name and arguments to another process; returns its result or raises ``RpcError``."""


class RpcError(Exception):
    """The other process is gone or too slow; the message says which."""


class RpcServer:
    """Base class of processes that answer requests.

    Args:
        name: the process' name, such as w1.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    async def ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Answer one request: call the method of this name."""
        return await getattr(self, method)(*arguments)


class RpcClient:
    """Sends requests to one process.

    Args:
        name: the process' name.
        transport: delivers requests to it.
    """

    def __init__(self, name: str, transport: Transport) -> None:
        self.name = name
        self._transport = transport

    async def ask(self, method: str, *arguments: Any, within_secs: float) -> Any:
        """Send a request and return the result.

        Raises:
            RpcError: when the process fails, or does not answer within ``within_secs``.
        """
        try:
            async with asyncio.timeout(within_secs):
                return await self._transport(method, arguments)
        except TimeoutError as error:
            raise RpcError(f"{self.name} did not answer {method} in {within_secs:g} s") from error


async def ask_each(
    clients: Iterable[RpcClient], method: str, *arguments: Any, within_secs: float
) -> list[Any]:
    """Send one request to several processes at once; return the results of those that gave one."""
    questions = [client.ask(method, *arguments, within_secs=within_secs) for client in clients]
    answers = await asyncio.gather(*questions, return_exceptions=True)
    return [answer for answer in answers if not isinstance(answer, BaseException)]
