"""What happens when a machine answers a call that we have dialled."""

from __future__ import annotations

from dataclasses import dataclass

from server.call_control import CallControl
from server.settings import SettingsError
from server.state import ServerState

MACHINE = "machine_"  # how Twilio's words for it begin: machine_end_beep, machine_end_silence, …


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
    def wants_detection(self) -> bool:
        """Whether Twilio has to find out who answers."""
        return self.what != "talk"

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
        if self.wants_detection and elsewhere:
            raise SettingsError("--voicemail is for calls that this program answers itself: leave out --url.")

    def on_status(self, call_sid: str, status: str, state: ServerState) -> None:
        """Act when Twilio says that a machine has answered; its greeting is over by then."""
        call = state.calls.find(call_sid)
        if not status.startswith(MACHINE) or call is None or call.over:
            return
        if self.what == "hang-up":
            call.end("a machine answered")
        elif self.message:
            CallControl(call, state).leave_message(self.message, "a machine answered")


NO_VOICEMAIL = Voicemail()
