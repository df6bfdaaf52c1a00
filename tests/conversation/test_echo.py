"""An echo is found, with its delay and loss; sounds that resemble one are not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bursts import talk as bursts
from moshi_phone.conversation.echo import EchoDetector
from tests.support.echoes import Floats, clips, echo, later, on_the_phone, silence, speech, talk

SECS = 16.0
PACKET_SAMPLES = 640


def found(caller: Floats, bot: Floats) -> tuple[float | None, EchoDetector]:
    """Return the seconds after which an echo is found, or None."""
    detector, first_s = EchoDetector(), None
    both = np.stack((on_the_phone(caller), on_the_phone(bot)), axis=1)
    for at in range(0, len(both), PACKET_SAMPLES):
        detector.feed(both[at : at + PACKET_SAMPLES])
        if detector.echo is not None and first_s is None:
            first_s = at / 8000
    return first_s, detector


@pytest.mark.parametrize("delay_ms", [60, 150, 250, 400, 600])
@pytest.mark.parametrize("loss_db", [6, 15, 25])
def test_an_echo_is_found_in_five_seconds(delay_ms: float, loss_db: float) -> None:
    bot = speech(SECS)
    first_s, detector = found(echo(bot, delay_ms, loss_db), bot)
    assert first_s is not None
    assert first_s <= 5
    assert detector.echo is not None
    assert detector.echo.delay_ms == pytest.approx(delay_ms, abs=20)
    assert detector.echo.loss_db == pytest.approx(loss_db, abs=8)  # of speech that a room smears


@pytest.mark.parametrize("delay_ms", [60, 150, 250, 400, 600])
@pytest.mark.parametrize("loss_db", [6, 15, 25])
def test_an_echo_is_found_during_double_talk(delay_ms: float, loss_db: float) -> None:
    """The caller does not pause for 14 seconds, and is as loud as the bot."""
    bot = speech(SECS)
    first_s, detector = found(echo(bot, delay_ms, loss_db) + speech(SECS, caller=True, pause_s=1.7), bot)
    assert first_s is not None
    assert first_s <= 5
    assert detector.echo is not None
    assert detector.echo.loss_db == pytest.approx(loss_db, abs=8)


@pytest.mark.parametrize("delay_s", [0.08, 0.3, 1.08, 2.08, 5.08])
@pytest.mark.parametrize("pause_s", [0.2, 0.35, 1.0])
def test_a_parrot_is_not_an_echo(delay_s: float, pause_s: float) -> None:
    caller = speech(40, caller=True, pause_s=pause_s)
    assert found(caller, later(caller, delay_s))[0] is None


@pytest.mark.parametrize("period_s", [1.0, 1.3, 1.7])
def test_a_caller_who_repeats_a_word_before_a_parrot_is_not_an_echo(period_s: float) -> None:
    word = speech(period_s + 1, caller=True)[8000:]
    word[-1600:] = 0
    caller = np.tile(word, 20)
    assert found(caller, later(caller, 1.08))[0] is None


def test_a_caller_who_repeats_the_bot_is_not_an_echo() -> None:
    bot = speech(30, pause_s=3)
    assert found(0.6 * later(bot, 1.8), bot)[0] is None


def test_two_people_and_music_are_not_an_echo() -> None:
    t = np.arange(30 * 8000) / 8000
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (440, 554, 659)) * (
        0.6 + 0.4 * np.sign(np.sin(4 * np.pi * t))
    )
    music = (0.1 * chord).astype(np.float32)
    assert found(speech(30, caller=True), speech(30))[0] is None
    assert found(music, speech(30))[0] is None
    assert found(music, later(music, 0.08))[0] is None


@pytest.mark.slow
def test_no_echo_is_found_in_a_hundred_calls_without_one() -> None:
    """Two people, parrots of any delay, callers who repeat a sentence: with noise, at any level."""
    rng = np.random.default_rng(7)
    voices, found_in = clips(), []
    for call in range(100):
        caller = (10 ** (rng.uniform(-20, 0) / 20) * talk(rng, voices, 20.0)).astype(np.float32)
        match call % 4:
            case 0:
                caller = np.tile(caller[: int(rng.uniform(1, 4) * 8000)], 20)[: len(caller)]
                bot = later(caller, rng.uniform(0.08, 6))
            case 1 | 2:
                bot = later(caller, rng.uniform(0.08, 9))
            case _:
                bot = talk(rng, voices, 20.0)
        noise = 10 ** (rng.uniform(-70, -35) / 20) * rng.standard_normal(len(caller))
        if found((caller + noise).astype(np.float32), bot)[0] is not None:
            found_in.append(call)
    assert not found_in


def test_silence_on_either_side_is_not_an_echo() -> None:
    assert found(silence(5), speech(5))[0] is None
    assert found(speech(5), silence(5))[0] is None


def test_blocks_of_any_length_give_the_same_result() -> None:
    bot = speech(6)
    both = np.stack((on_the_phone(echo(bot, 150, 15)), on_the_phone(bot)), axis=1)
    detectors = [EchoDetector() for _ in range(2)]
    for detector, size in zip(detectors, (161, 4001), strict=True):
        for at in range(0, len(both), size):
            detector.feed(both[at : at + size])
    assert detectors[0].echo == detectors[1].echo is not None


@pytest.mark.parametrize("begin_s", [29, 30, 31])
@pytest.mark.parametrize(("delay_ms", "loss_db"), [(250, 6), (250, 25), (600, 6)])
def test_an_echo_that_starts_later_is_found_in_five_seconds(
    delay_ms: float, loss_db: float, begin_s: float
) -> None:
    """After 30 s without one, when audio is analysed every two seconds."""
    bot = speech(40)
    returned = echo(bot, delay_ms, loss_db) * (np.arange(len(bot)) > begin_s * 8000)
    noise = np.random.default_rng(1).normal(0, 0.001, len(bot))
    first_s, _ = found((returned + noise).astype(np.float32), bot)
    assert first_s is not None
    assert begin_s < first_s <= begin_s + 5


def test_words_repeated_two_percent_slower_are_not_an_echo() -> None:
    words, pause = clips()[0][: 4 * 8000], silence(1.5)
    bot = np.tile(np.concatenate((words, pause)), 3)
    copy = np.interp(np.arange(0, len(words) - 1, 0.98), np.arange(len(words)), 0.6 * words)
    caller = np.zeros_like(bot)
    for begin in range(4000, len(bot), len(words) + len(pause)):
        caller[begin : begin + len(copy)] += copy[: len(bot) - begin].astype(np.float32)
    assert found(caller, bot)[0] is None


@pytest.mark.parametrize(("seed", "delay_s"), [(5, 0.08), (5, 0.1), (5, 0.2), (0, 0.2201), (8, 0.1519)])
def test_short_sounds_returned_by_a_mirror_are_not_an_echo(seed: int, delay_s: float) -> None:
    caller = bursts(60, seed).samples
    assert found(caller, later(caller, delay_s))[0] is None


def test_explained_sounds_are_compared_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Comparisons take most of the detector's time; 32 half seconds of this minute could be compared."""
    compared = list[int]()
    compare = EchoDetector._compare

    def counted(detector: EchoDetector, end: int) -> None:
        compared.append(end)
        compare(detector, end)

    monkeypatch.setattr(EchoDetector, "_compare", counted)
    caller = bursts(60, seed=3).samples
    assert found(caller, later(caller, 0.08))[0] is None
    assert 6 <= len(compared) <= 20


def test_two_people_are_analysed_every_two_seconds_once_there_is_no_echo() -> None:
    """Each analysis costs several times its own work: caches are cold."""
    detector = EchoDetector()
    sides = 0.1 * speech(60, caller=True), speech(60)
    both = np.stack([on_the_phone(side) for side in sides], axis=1)
    analyses = sum(
        detector.feed(both[at : at + PACKET_SAMPLES]) for at in range(0, len(both), PACKET_SAMPLES)
    )
    assert detector.echo is None
    assert detector.bot_s >= 40
    assert analyses <= 44
