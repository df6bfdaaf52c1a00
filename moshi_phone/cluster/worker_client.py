"""The client side of a worker: its reports, and requests to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moshi_phone.access.refusal import Refusal
from moshi_phone.cluster.rpc import RpcClient
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.web.calls_source import CallUpdate
from moshi_phone.server.web.server_status import ServerStatus
from moshi_phone.telephony.incoming_call import IncomingCall


@dataclass(frozen=True)
class WorkerReport:
    """A worker's report of its state.

    Attributes:
        name: w1, w2, ….
        url: its public URL, or None while there is none.
        closing: whether it is draining: no new calls, and an end after the last one.
        over: whether it has ended, so that its process can be killed.
        failure: why it could not start, in one sentence, or None.
        status: the status of its server; None until the server has its engine and its URL.
        phone_calls: its calls at Twilio, with the number of their streams that broke off, by SID.
    """

    name: str
    url: str | None = None
    closing: bool = False
    over: bool = False
    failure: str | None = None
    status: ServerStatus | None = None
    phone_calls: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def takes_calls(self) -> bool:
        """Whether it takes new calls, if a session is free."""
        return self.status is not None and self.status.ready and not self.closing and not self.over

    @property
    def capacity(self) -> int:
        """Number of its sessions."""
        return self.status.capacity if self.status else 0

    @property
    def sessions(self) -> int:
        """Number of sessions in use, including reserved ones."""
        return self.status.sessions + self.status.reserved if self.status else 0

    @property
    def free(self) -> int:
        """Number of sessions free for new calls."""
        return self.status.free if self.status and self.takes_calls else 0


SOON_SECS = 1.0
"""Timeout of requests that need no I/O. A caller loses this time once when a worker's machine is gone."""
HOOK_SECS = 6.0
"""Timeout of requests that call a hook (``hooks/http.py``); Twilio waits 15 s in total."""


class WorkerClient(RpcClient):
    """Sends requests to one worker; every method may raise ``RpcError``."""

    async def report(self, gateway_url: str | None, within_secs: float = SOON_SECS) -> WorkerReport:
        """See ``Worker.report``."""
        report: WorkerReport = await self.ask("report", gateway_url, within_secs=within_secs)
        return report

    async def reserve(self, call_sid: str) -> Refusal | None:
        """See ``Worker.reserve``."""
        refusal: Refusal | None = await self.ask("reserve", call_sid, within_secs=SOON_SECS)
        return refusal

    async def answer(self, call: IncomingCall) -> str | None:
        """See ``Worker.answer``."""
        document: str | None = await self.ask("answer", call, within_secs=HOOK_SECS)
        return document

    async def export_call(self, call_sid: str) -> PendingCall | None:
        """See ``Worker.export_call``."""
        expected: PendingCall | None = await self.ask("export_call", call_sid, within_secs=SOON_SECS)
        return expected

    async def import_call(self, call_sid: str, expected: PendingCall | None) -> str | None:
        """See ``Worker.import_call``."""
        document: str | None = await self.ask("import_call", call_sid, expected, within_secs=SOON_SECS)
        return document

    async def next_step(self, call: IncomingCall, resumes: int) -> str | PendingCall | None:
        """See ``Worker.next_step``."""
        found: str | PendingCall | None = await self.ask("next_step", call, resumes, within_secs=SOON_SECS)
        return found

    async def resume(self, call: IncomingCall, resumes: int, expected: PendingCall | None) -> str | None:
        """See ``Worker.resume``."""
        document: str | None = await self.ask("resume", call, resumes, expected, within_secs=HOOK_SECS)
        return document

    async def note_hung_up(self, call_sid: str) -> None:
        """See ``Worker.note_hung_up``."""
        await self.ask("note_hung_up", call_sid, within_secs=SOON_SECS)

    async def release(self, call_sids: list[str]) -> None:
        """See ``Worker.release``."""
        await self.ask("release", call_sids, within_secs=SOON_SECS)

    async def running_calls(self) -> list[dict[str, Any]]:
        """See ``Worker.running_calls``; adds the worker's name to each call."""
        calls: list[dict[str, Any]] = await self.ask("running_calls", within_secs=SOON_SECS)
        return [{"worker": self.name} | call for call in calls]

    async def whisper(self, call_sid: str) -> str | None:
        """See ``Worker.whisper``."""
        document: str | None = await self.ask("whisper", call_sid, within_secs=SOON_SECS)
        return document

    async def details(self, call_sid: str) -> dict[str, Any] | None:
        """See ``Worker.details``."""
        details: dict[str, Any] | None = await self.ask("details", call_sid, within_secs=SOON_SECS)
        return details

    async def update(self, call_sid: str, pieces: int) -> CallUpdate | None:
        """See ``Worker.update``."""
        update: CallUpdate | None = await self.ask("update", call_sid, pieces, within_secs=SOON_SECS)
        return update

    async def say(self, call_sid: str, text: str) -> tuple[int, str] | None:
        """See ``Worker.say``."""
        said: tuple[int, str] | None = await self.ask("say", call_sid, text, within_secs=SOON_SECS)
        return said

    async def scrape(self) -> str:
        """See ``Worker.scrape``."""
        text: str = await self.ask("scrape", within_secs=SOON_SECS)
        return text

    async def offers(self) -> dict[str, list[str]]:
        """See ``Worker.offers``."""
        offers: dict[str, list[str]] = await self.ask("offers", within_secs=SOON_SECS)
        return offers

    async def create_browser_call(
        self, call_sid: str, body: bytes, content_type: str
    ) -> tuple[int, str, str]:
        """See ``Worker.create_browser_call``."""
        ready: tuple[int, str, str] = await self.ask(
            "create_browser_call", call_sid, body, content_type, within_secs=SOON_SECS
        )
        return ready

    async def end(self) -> None:
        """See ``Worker.end``."""
        await self.ask("end", within_secs=SOON_SECS)

    async def hang_up(self) -> None:
        """See ``Worker.hang_up``."""
        await self.ask("hang_up", within_secs=SOON_SECS)
