"""Splits an Ogg stream into its pages, independent of message boundaries, and drops damaged ones.

sphn's reader tolerates missing pages. But after a stray byte between two pages it raises at every call, and
it plays a page with a wrong checksum as noise. So it gets only whole, intact pages. The format is RFC 3533.
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
        data: the whole page, including its header.
        sound: whether its checksum is right.
    """

    data: bytes
    sound: bool


class PageSplitter:
    """Extracts pages from a stream of bytes, each as soon as it is complete.

    Holds one page at most, 65,307 bytes.

    Attributes:
        skipped_bytes: number of bytes outside pages so far.
    """

    def __init__(self) -> None:
        self._rest = b""  # less than a page
        self.skipped_bytes = 0

    def push(self, data: bytes) -> list[Page]:
        """Return the pages that this data completes, including damaged ones."""
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
                # A damaged header may claim many seconds of audio; do not wait for them.
                at = self._sound_page_within()
                if at is None:
                    return None
                self._skip(at)
                continue
            data, rest = self._rest[:length], self._rest[length:]
            sound = is_sound(data)
            if not sound and not rest.startswith(CAPTURE[: len(rest)]):
                self._skip(len(CAPTURE))  # its length may be wrong as well: the next page may begin within it
                continue
            self._rest = rest
            return Page(data, sound)

    def _sound_page_within(self) -> int | None:
        """Return the offset of an intact page within an incomplete one."""
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
    """Return whether a page's checksum is correct."""
    return checksum(page) == int.from_bytes(page[_CHECKSUM], "little")


def checksum(page: bytes) -> int:
    """Compute a page's CRC-32: polynomial 0x04c11db7, most significant bit first, nothing inverted.

    zlib's CRC has the same polynomial in reversed bit order, and inverts before and after.
    """
    plain = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    reflected = zlib.crc32(plain.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED_BITS), "big")


def _page_bytes(data: bytes) -> int | None:
    """Return the length of the page at the start of the data; None while its header is incomplete."""
    if len(data) < _HEADER_BYTES:
        return None
    table = data[_HEADER_BYTES : _HEADER_BYTES + data[_SEGMENTS_AT]]
    if len(table) < data[_SEGMENTS_AT]:
        return None
    return _HEADER_BYTES + len(table) + sum(table)
