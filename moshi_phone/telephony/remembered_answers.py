"""Answers to webhooks, so that Twilio's retry or a replay gets the same one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

MAX_REMEMBERED = 4_000  # answers of 1.5 kB each; beyond that, the oldest is dropped


class RememberedAnswers:
    """Stores the TwiML for each request by its signature, which covers the URL and the form.

    Args:
        ask_others: returns the answer that another process has given, by the signature.
    """

    def __init__(self, ask_others: Callable[[str], Awaitable[str | None]] | None = None) -> None:
        self._ask_others = ask_others
        self._documents: dict[str, str] = {}  # oldest first

    def own(self, signature: str) -> str | None:
        """Return the answer that this process has given; None if there is none."""
        return self._documents.get(signature)

    async def find(self, signature: str) -> str | None:
        """Return the answer that was given; None if the question is new."""
        if signature in self._documents or self._ask_others is None or not signature:
            return self.own(signature)
        return await self._ask_others(signature)

    def add(self, signature: str, document: str) -> None:
        """Store an answer.

        Args:
            signature: of the request; empty, with --insecure, if nothing identifies a repetition.
            document: the TwiML.
        """
        if not signature:
            return
        self._documents[signature] = document
        if len(self._documents) > MAX_REMEMBERED:
            del self._documents[next(iter(self._documents))]
