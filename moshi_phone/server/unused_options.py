"""Options that are set but have no effect, each in one sentence. Pure."""

from __future__ import annotations

from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings


def unused_options(settings: Settings) -> list[str]:
    """Return one sentence for each option without effect under the other settings."""
    calls, sentences = settings.calls, list[str]()
    is_asked_for = calls.transfer_key or calls.transfer_phrase
    # A custom pipeline may have a delegate with a tool for transfers.
    if calls.transfer_to and not is_asked_for and settings.server.pipeline == ServerOptions.pipeline:
        sentences.append(
            "No caller can ask for --transfer-to: set --transfer-key, --transfer-phrase, or a --pipeline "
            "with a tool for it."
        )
    if calls.transfer_whisper and not (
        calls.transfer_to or settings.hooks.on_call or settings.engine.personas
    ):
        sentences.append("--transfer-whisper is said in transfers only: set --transfer-to.")
    taps = settings.taps
    if (taps.record_notice or taps.record_optout_key) and not (taps.record or taps.transcripts):
        sentences.append(
            "Calls are not recorded, so --record-notice and --record-optout-key change nothing: set "
            "--record or --transcripts."
        )
    return sentences
