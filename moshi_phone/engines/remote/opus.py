"""Opus in Ogg, as Moshi servers want it, by Kyutai's own ``sphn``.

80 ms of speech become two packets of 40 ms at once, each in a page of its own; each way costs 6.5 ms of
codec delay. A frame takes 1.1 ms to encode and 0.1 ms to decode (measured); sphn releases the GIL meanwhile.
"""

from __future__ import annotations

import numpy as np
import sphn

from moshi_phone.audio.formats import SAMPLE_RATE_HZ, Pcm
from moshi_phone.engines.duplex import check_frame
from moshi_phone.engines.remote.ogg import PageSplitter

DELAY_MS = 6.5  # of encoding and decoding once: Opus's look-ahead, 312 samples at 48 kHz
PACKET_SAMPLES = SAMPLE_RATE_HZ * 40 // 1000  # of sphn's packets
MAX_PAGE_SAMPLES = SAMPLE_RATE_HZ  # servers send 20 to 80 ms a page; of an empty packet sphn makes 5 s


class OpusEncoder:
    """Makes one Ogg stream of a caller's frames."""

    def __init__(self) -> None:
        self._writer = sphn.OpusStreamWriter(SAMPLE_RATE_HZ)

    def encode(self, pcm: Pcm) -> bytes:
        """Return the pages for 80 ms, float32 ``[1920]``, 24 kHz mono; the first ones hold the headers."""
        return bytes(self._writer.append_pcm(check_frame(pcm)))


class OpusDecoder:
    """Makes speech of a server's Ogg stream, however it was split, and lives through damaged pages.

    Attributes:
        damaged_pages: how many were replaced by silence, or by nothing where even their length was lost.
    """

    def __init__(self) -> None:
        self._splitter = PageSplitter()
        self._reader = sphn.OpusStreamReader(SAMPLE_RATE_HZ)
        # Length of the last sound packet: what a damaged one is replaced by.
        self._packet_samples = PACKET_SAMPLES
        self.damaged_pages = 0

    def decode(self, ogg: bytes) -> Pcm:
        """Return all the speech that is complete with these bytes: float32 ``[n]``, 24 kHz mono."""
        pieces = [self._decode_page(page.data, page.sound) for page in self._splitter.push(ogg)]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    def _decode_page(self, page: bytes, sound: bool) -> Pcm:
        if sound:
            try:
                pcm: Pcm = self._reader.append_bytes(page)
            except ValueError:  # an Ogg page, but no Opus in it
                self._reader = sphn.OpusStreamReader(SAMPLE_RATE_HZ)
            else:
                if 0 < pcm.size <= MAX_PAGE_SAMPLES:
                    self._packet_samples = pcm.size
                if pcm.size <= MAX_PAGE_SAMPLES:
                    return pcm
        self.damaged_pages += 1
        # As much silence as the page before it had speech, so that what follows comes at its time.
        return np.zeros(self._packet_samples, np.float32)
