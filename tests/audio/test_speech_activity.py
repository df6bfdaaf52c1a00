from __future__ import annotations

from moshi_phone.audio.speech_activity import Change, SpeechActivity


def changes(blocks: str, pause_s: float = 0.35) -> list[Change | None]:
    activity = SpeechActivity(pause_s)
    return [activity.add(loud=block == "x", audio_s=0.08) for block in blocks]


def test_speech_begins_with_a_loud_block_and_ends_after_a_pause() -> None:
    assert changes("..xx.....") == [None, None, Change.STARTED, *[None] * 5, Change.STOPPED]


def test_a_short_pause_belongs_to_the_speech() -> None:
    assert changes("xx....xx") == [Change.STARTED, *[None] * 7]


def test_a_pause_of_whole_blocks_is_not_missed_by_rounding() -> None:
    assert changes("x" + "." * 10, pause_s=0.8)[-1] is Change.STOPPED


def test_the_end_is_reported_once() -> None:
    activity = SpeechActivity(0.35)
    assert activity.stop() is None
    activity.add(loud=True, audio_s=0.08)
    assert activity.speaking
    assert activity.stop() is Change.STOPPED
    assert activity.stop() is None
