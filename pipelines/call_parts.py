"""What a call hands to the function that assembles its pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_transport import BaseTransport

from moshi_phone.audio.silence_trimmer import DEFAULT_LEAD_MS
from moshi_phone.engines.duplex import HANG_SECS, DuplexSession

Transfer = Callable[[str], bool]
"""Begins to transfer the caller to ``--transfer-to``, given the reason for the log; False where it cannot."""


def _no_transfer(_: str) -> bool:
    return False


@dataclass(frozen=True)
class CallParts:
    """What a call hands to the function that assembles its pipeline, such as ``phone_call``.

    A pipeline function takes one of these and returns a ``Pipeline``. It uses what it needs: without the
    taps, calls are neither measured nor recorded.

    Attributes:
        transport: the phone company's side; its input and output are µ-law frames.
        session: the engine's side of this call.
        inbound_taps: stages that observe the caller's audio as it arrives, and change nothing.
        taps: stages that observe and change nothing; they come last, where they see what is sent.
        playout_lead_ms: how much audio may wait in Twilio's buffer before pauses are trimmed.
        hang_secs: how long the session may owe an answer before the call is ended.
        transfer: begins a transfer.
    """

    transport: BaseTransport
    session: DuplexSession
    inbound_taps: Sequence[FrameProcessor] = ()
    taps: Sequence[FrameProcessor] = ()
    playout_lead_ms: float = DEFAULT_LEAD_MS
    hang_secs: float = HANG_SECS
    transfer: Transfer = _no_transfer
