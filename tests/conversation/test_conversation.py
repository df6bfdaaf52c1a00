"""Measurements of conversations with known truth: 20 dB of noise, µ-law both ways."""

from __future__ import annotations

import pytest

from moshi_phone.conversation.conversation import Conversation, interruptions_of, summary
from tests.conversation.scripted import Behaviour, talk

WITHIN_MS = 80.0


BEHAVIOURS = [
    Behaviour(),
    Behaviour(answer_ms=900),
    Behaviour(answer_ms=-300),
    Behaviour(stop_ms=1500),
    Behaviour(stop_ms=None),
    Behaviour(takes_pauses=True),
    Behaviour(stops_for_backchannels=True),
    Behaviour(600, 700, takes_pauses=True, stops_for_backchannels=True),
]


@pytest.mark.cpu_bound
@pytest.mark.parametrize(
    ("bot", "caller", "noise_db"),
    [
        (BEHAVIOURS[0], "espeak", None),
        (BEHAVIOURS[-1], "espeak", 20.0),
        *((bot, "slt", 20.0) for bot in BEHAVIOURS),
    ],
    ids=str,
)
def test_every_measurement_is_near_the_truth(bot: Behaviour, caller: str, noise_db: float | None) -> None:
    scene, truth = talk(caller, bot)
    talked = Conversation()
    line = scene.on_the_line(noise_db)
    for begin in range(0, len(line), 640):
        talked.feed(line[begin : begin + 640])
    talked.finish()
    found = summary(talked.voices, talked.events)

    gaps_ms = [response["gap_ms"] for response in found["responses"]]
    stops_ms = [one["stop_ms"] for one in found["interruptions"]]
    assert gaps_ms == pytest.approx(truth.gaps_ms, abs=WITHIN_MS)
    assert stops_ms == pytest.approx(truth.stops_ms, abs=WITHIN_MS)
    assert [one.yielded for one in interruptions_of(talked.events)] == [bot.stop_ms is not None] * 2
    assert found["takeovers_in_pauses"] == truth.takeovers
    assert len(found["backchannels"]) == 2
    assert found["backchannel_stops"] == truth.backchannel_stops
    assert found["longest_silence_s"] == pytest.approx(truth.longest_silence_s, abs=WITHIN_MS / 1000)
    assert found["first_speaker"] == "bot"
    assert found["first_speech_s"] == pytest.approx(0.7, abs=WITHIN_MS / 1000)
