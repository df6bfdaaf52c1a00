"""Requests between the processes of a cluster: named, signed, bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from moshi_phone.access.tokens import TokenRefused
from moshi_phone.cluster.cluster_auth import ClusterAuth

Transport = Callable[[str, str, tuple[Any, ...]], Awaitable[tuple[str, Any]]]
"""Brings token, name and arguments of a request to another process; gives its token and its answer."""


class RpcError(Exception):
    """Another process is gone, or too slow, or is not who it should be. The text says which."""


class RpcServer:
    """Base of what is asked. Only the methods named in ``ASKED`` are."""

    ASKED: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, name: str, auth: ClusterAuth) -> None:
        self.name = name
        self.auth = auth

    async def ask(self, token: str, what: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
        """Answer one request.

        Raises:
            TokenRefused: when whoever asks does not have the cluster's key.
            ValueError: when there is no such request.
        """
        reply = self.auth.admit(token, self.name)
        if what not in self.ASKED:
            raise ValueError(f"expected one of {', '.join(sorted(self.ASKED))}, got {what!r}")
        return reply, await getattr(self, what)(*arguments)


class RpcClient:
    """Asks one other process.

    Args:
        name: of the other.
        auth: that of this process.
        transport: leads there.
    """

    def __init__(self, name: str, auth: ClusterAuth, transport: Transport) -> None:
        self.name = name
        self._auth = auth
        self._transport = transport

    async def ask(self, what: str, *arguments: Any, within_secs: float) -> Any:
        """Ask, and wait no longer than that.

        Raises:
            RpcError: when none comes, or none that can be believed.
        """
        token = self._auth.request(self.name)
        try:
            async with asyncio.timeout(within_secs):
                reply, answer = await self._transport(token, what, arguments)
            self._auth.check_reply(reply, token)
        except TimeoutError as error:
            raise RpcError(f"{self.name} did not answer {what} in {within_secs:g} s") from error
        except TokenRefused as error:
            raise RpcError(f"{self.name}: {error}") from error
        return answer
