"""The protocol of Moshi servers, ``/api/chat``: binary WebSocket messages; the first byte is the kind.

Kyutai's Python server (``moshi.server``), Kyutai's Rust backend and NVIDIA's PersonaPlex server use it.
Only audio is ever sent: the Rust backend ends the session on a kind that it does not know, and the others
ignore all but audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

CHAT_PATH = "/api/chat"
_TEXT_CHARACTERS = 200  # of a server's error message to show


class Kind(IntEnum):
    """The kind of a message: its first byte."""

    HANDSHAKE = 0  # the model is ready for this client; some servers append their version
    AUDIO = 1  # Ogg pages of Opus, 24 kHz mono; a message may hold any part of the stream
    TEXT = 2  # UTF-8; a piece of the model's words, with a blank before each word
    CONTROL = 3
    METADATA = 4  # JSON
    ERROR = 5  # UTF-8, for people
    PING = 6


@dataclass(frozen=True, slots=True)
class Message:
    """A message from the server.

    Attributes:
        kind: its kind.
        payload: everything after the first byte.
    """

    kind: Kind
    payload: bytes

    @property
    def text(self) -> str:
        """The payload as text; invalid UTF-8 becomes replacement characters."""
        return self.payload.decode(errors="replace")

    @property
    def error(self) -> str:
        """The payload as one short line, for people and the log."""
        printable = "".join(character if character.isprintable() else " " for character in self.text)
        return " ".join(printable.split())[:_TEXT_CHARACTERS] or "without a word"


def decode(data: bytes | str) -> Message | None:
    """Parse a message; return None for one to ignore: empty, text, or of an unknown kind."""
    if isinstance(data, str) or not data or data[0] > max(Kind):
        return None
    return Message(Kind(data[0]), data[1:])


def encode_audio(ogg: bytes) -> bytes:
    """Encode the only message that is ever sent: a part of the caller's Ogg stream."""
    return bytes((Kind.AUDIO,)) + ogg
