"""Cuts an Ogg stream into its pages, whatever it was split into on its way, and drops what is damaged.

sphn's reader accepts pages that are missing, but for one stray byte between two of them it raises at every
call from then on, and it plays a page whose checksum is wrong as noise. So it is given whole, sound pages
only. The format is RFC 3533.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

CAPTURE = b"OggS"
_HEADER_BYTES = 27  # up to the segment table
_SEGMENTS_AT = 26
_CHECKSUM = slice(22, 26)

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an Ogg stream.

    Attributes:
        data: the whole page, its header included.
        sound: whether its checksum is right.
    """

    data: bytes
    sound: bool


class PageSplitter:
    """Takes bytes as they come and gives the pages in them, each as soon as its last byte is there.

    It never holds more than one page, 65,307 bytes.

    Attributes:
        skipped_bytes: bytes so far that belonged to no page.
    """

    def __init__(self) -> None:
        self._rest = b""  # less than a page
        self.skipped_bytes = 0

    def push(self, data: bytes) -> list[Page]:
        """Return the pages that are complete with this data, damaged ones among them."""
        self._rest += data
        pages: list[Page] = []
        while page := self._next_page():
            pages.append(page)
        return pages

    def _next_page(self) -> Page | None:
        while True:
            self._skip_to_capture()
            length = _page_bytes(self._rest)
            if length is None or len(self._rest) < length:
                # A damaged header can claim many seconds of audio: do not wait for those.
                at = self._sound_page_within()
                if at is None:
                    return None
                self._skip(at)
                continue
            data, rest = self._rest[:length], self._rest[length:]
            sound = is_sound(data)
            if not sound and not rest.startswith(CAPTURE[: len(rest)]):
                self._skip(len(CAPTURE))  # its length is wrong too: the next page may begin within it
                continue
            self._rest = rest
            return Page(data, sound)

    def _sound_page_within(self) -> int | None:
        """Find where a whole page begins within one that is not complete."""
        at = self._rest.find(CAPTURE, len(CAPTURE))
        while at >= 0:
            length = _page_bytes(self._rest[at:])
            if (
                length is not None
                and len(self._rest) - at >= length
                and is_sound(self._rest[at : at + length])
            ):
                return at
            at = self._rest.find(CAPTURE, at + len(CAPTURE))
        return None

    def _skip_to_capture(self) -> None:
        at = self._rest.find(CAPTURE)
        if at < 0:  # the pattern may have begun
            # The capture pattern may be split between two messages.
            kept = next((n for n in (3, 2, 1) if self._rest.endswith(CAPTURE[:n])), 0)
            at = len(self._rest) - kept
        self._skip(at)

    def _skip(self, count: int) -> None:
        self.skipped_bytes += count
        self._rest = self._rest[count:]


def is_sound(page: bytes) -> bool:
    """Say whether a page's checksum is right."""
    return checksum(page) == int.from_bytes(page[_CHECKSUM], "little")


def checksum(page: bytes) -> int:
    """Compute a page's CRC-32: polynomial 0x04c11db7, most significant bit first, nothing inverted.

    zlib's has the same polynomial with all bits the other way round, and inverts before and after.
    """
    plain = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    reflected = zlib.crc32(plain.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED_BITS), "big")


def _page_bytes(data: bytes) -> int | None:
    """Return the length of the page that the data begins with, or None while its header is not complete."""
    if len(data) < _HEADER_BYTES:
        return None
    table = data[_HEADER_BYTES : _HEADER_BYTES + data[_SEGMENTS_AT]]
    if len(table) < data[_SEGMENTS_AT]:
        return None
    return _HEADER_BYTES + len(table) + sum(table)
