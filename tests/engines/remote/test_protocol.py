"""Message kinds: which are parsed, which are skipped, which are sent."""

from __future__ import annotations

import pytest

from moshi_phone.engines.remote.protocol import Kind, Message, decode, encode_audio


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x00", Message(Kind.HANDSHAKE, b"")),
        (b"\x00" + bytes(8), Message(Kind.HANDSHAKE, bytes(8))),
        (b"\x01OggS", Message(Kind.AUDIO, b"OggS")),
        (b"\x02 hello", Message(Kind.TEXT, b" hello")),
        (b"\x03\x01", Message(Kind.CONTROL, b"\x01")),
        (b"\x04{}", Message(Kind.METADATA, b"{}")),
        (b"\x05no GPU", Message(Kind.ERROR, b"no GPU")),
        (b"\x06", Message(Kind.PING, b"")),
    ],
)
def test_parses_every_kind(data: bytes, expected: Message) -> None:
    assert decode(data) == expected


@pytest.mark.parametrize("data", [b"", "a text frame", b"\x07", b"\xff123"])
def test_skips_unknown_kinds(data: bytes | str) -> None:
    assert decode(data) is None


def test_sends_audio_only() -> None:
    assert encode_audio(b"OggS") == b"\x01OggS"


def test_text_that_is_not_utf8_raises_nothing() -> None:
    assert Message(Kind.TEXT, b" caf\xc3").text == " caf�"


def test_an_error_becomes_one_short_printable_line() -> None:
    assert Message(Kind.ERROR, b"out of\n memory\x1b[31m").error == "out of memory [31m"
    assert len(Message(Kind.ERROR, b"x" * 5000).error) == 200
    assert Message(Kind.ERROR, b"").error == "without a word"
