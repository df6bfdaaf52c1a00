"""The whisper: words for the person who answers a transfer, before the caller is connected."""

from __future__ import annotations

from urllib.parse import urlencode

from moshi_phone.access.public_address import WHISPER_PATH
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony import twiml

MAX_WORDS_CHARS = 200  # about fifteen seconds, for which the caller waits


def whisper_url(call_sid: str, state: ServerState) -> str | None:
    """Return the URL of the whisper's TwiML; None without ``--transfer-whisper``."""
    url = state.webhooks.https(WHISPER_PATH)
    if url is None or not state.settings.calls.transfer_whisper:
        return None
    return f"{url}?{urlencode({'call': call_sid})}"


async def whisper(call_sid: str, state: ServerState) -> str:
    """Return the TwiML of the whisper, with the caller's last words if they are known.

    Args:
        call_sid: SID of the caller's call, which may have ended.
        state: shared state of the server.
    """
    text = state.settings.calls.transfer_whisper or ""
    call = state.calls.find(call_sid)
    lines = call.observations.transcript.lines if call is not None else []
    said = [line.text.strip() for line in lines if line.speaker == "caller" and line.text.strip()]
    if words := " ".join(said)[-MAX_WORDS_CHARS:]:
        text = f"{text} The caller said: {words}".strip()
    return twiml.say(text) if text else twiml.nothing()
