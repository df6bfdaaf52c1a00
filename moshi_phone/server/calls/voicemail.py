"""Handles answering machines on calls that we dialled."""

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

# Twilio's values of AnsweredBy. The others, human and unknown, are treated as a person.
MACHINE = "machine_"  # machine_start, machine_end_beep, machine_end_silence, machine_end_other
GREETING_OVER = "machine_end_"
FAX = "fax"
BEGIN_SECS = 60.0  # lifetime of the stream's token

_waiting: set[asyncio.Task[None]] = set()  # strong references: asyncio holds tasks weakly


@dataclass(frozen=True)
class Voicemail:
    """The handling of calls that a machine answers.

    Attributes:
        what: ``talk`` (as to a person), ``hang-up`` or ``message``.
        message: text to say after the machine's tone, for ``message``.
    """

    what: str = "talk"
    message: str | None = None

    @property
    def detection(self) -> MachineDetection | None:
        """Twilio's detection mode: decide at once, or after the machine's greeting."""
        if self.what == "talk":
            return None
        return "Enable" if self.what == "hang-up" else "DetectMessageEnd"

    def check(self, *, elsewhere: bool) -> None:
        """Check that the options go together.

        Args:
            elsewhere: whether another server answers the call.

        Raises:
            SettingsError: if they do not.
        """
        if self.what == "message" and not self.message:
            raise SettingsError("--voicemail message needs --voicemail-message TEXT.")
        if self.message and self.what != "message":
            raise SettingsError("--voicemail-message needs --voicemail message.")
        if self.detection and elsewhere:
            raise SettingsError("--voicemail is for calls that this program answers itself: leave out --url.")

    def check_engine(self, engine: DuplexEngine) -> None:
        """Check, before anybody is called, that the engine can say the message.

        Raises:
            SettingsError: if it cannot.
        """
        if self.message and "say" not in engine.capabilities:
            raise SettingsError(
                f"The engine {engine.name} cannot say given words, which --voicemail message needs; "
                "--engine moshi can."
            )

    def on_status(self, call_sid: str, status: str, state: ServerState) -> None:
        """Handle Twilio's report of a machine: leave the message after its greeting, or hang up."""
        if not status.startswith((MACHINE, FAX)) or self.what == "talk":
            return
        call = state.calls.find(call_sid)
        if call is None:  # Twilio may report it before the stream starts
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
        elif self.message and status.startswith(GREETING_OVER):  # machine_start: the greeting still plays
            CallControl(call, state).leave_message(self.message, "a machine answered")


NO_VOICEMAIL = Voicemail()
