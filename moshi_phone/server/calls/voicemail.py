"""What happens when a machine answers a call that we have dialled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from moshi_phone.engines.duplex import DuplexEngine
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.control import CallControl
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import SettingsError
from moshi_phone.telephony.rest import MachineDetection

# Twilio's words for who has answered; the others are human and unknown, who is talked to.
MACHINE = "machine_"  # machine_start, machine_end_beep, machine_end_silence, machine_end_other
GREETING_OVER = "machine_end_"
FAX = "fax"
BEGIN_SECS = 60.0  # as long as the token of the stream lives

_waiting: set[asyncio.Task[None]] = set()  # or nobody would hold them


@dataclass(frozen=True)
class Voicemail:
    """What to do.

    Attributes:
        what: ``talk`` (as to a person), ``hang-up`` or ``message``.
        message: what is said to the machine after its tone, for ``message``.
    """

    what: str = "talk"
    message: str | None = None

    @property
    def detection(self) -> MachineDetection | None:
        """How Twilio has to find out who answers: at once, or to the end of the machine's greeting."""
        if self.what == "talk":
            return None
        return "Enable" if self.what == "hang-up" else "DetectMessageEnd"

    def check(self, *, elsewhere: bool) -> None:
        """Make sure that this can be done.

        Args:
            elsewhere: whether the call is answered by another server.

        Raises:
            SettingsError: when it cannot.
        """
        if self.what == "message" and not self.message:
            raise SettingsError("--voicemail message needs --voicemail-message, which says what.")
        if self.message and self.what != "message":
            raise SettingsError("--voicemail-message needs --voicemail message.")
        if self.detection and elsewhere:
            raise SettingsError("--voicemail is for calls that this program answers itself: leave out --url.")

    def check_engine(self, engine: DuplexEngine) -> None:
        """Make sure that the engine can do its part, before anybody is called for nothing.

        Raises:
            SettingsError: when it cannot.
        """
        if self.message and "say" not in engine.capabilities:
            raise SettingsError(
                f"The engine {engine.name} cannot say given words, which --voicemail message needs; "
                "--engine moshi can."
            )

    def on_status(self, call_sid: str, status: str, state: ServerState) -> None:
        """Act when Twilio says that a machine has answered: a message, after its greeting, or the end."""
        if not status.startswith((MACHINE, FAX)) or self.what == "talk":
            return
        call = state.calls.find(call_sid)
        if call is None:  # Twilio may know who has answered before the stream is here
            later = asyncio.create_task(self._act_when_begun(call_sid, status, state))
            _waiting.add(later)
            later.add_done_callback(_waiting.discard)
        elif not call.over:
            self._act(call, status, state)

    async def _act_when_begun(self, call_sid: str, status: str, state: ServerState) -> None:
        with suppress(TimeoutError):
            self._act(await asyncio.wait_for(state.calls.begun(call_sid), BEGIN_SECS), status, state)

    def _act(self, call: Call, status: str, state: ServerState) -> None:
        if self.what == "hang-up" or status == FAX:
            call.request_end("a machine answered")
        elif self.message and status.startswith(GREETING_OVER):
            CallControl(call, state).leave_message(self.message, "a machine answered")


NO_VOICEMAIL = Voicemail()
