from __future__ import annotations

from moshi_phone.server.calls.options import CallOptions, fallback


def test_a_fallback_number_precedes_a_sentence_and_none_is_the_busy_tone() -> None:
    number = fallback(CallOptions(fallback_to="+15551234567", fallback_say="Later.", transfer_ring_secs=12))
    assert number is not None
    assert '<Dial timeout="12"' in number
    assert "+15551234567" in number
    said = fallback(CallOptions(fallback_say="Call later, please."))
    assert said is not None
    assert "<Say" in said
    assert "Call later, please." in said
    assert fallback(CallOptions()) is None
