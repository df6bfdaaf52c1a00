"""The output of ``bench``."""

from __future__ import annotations

from dataclasses import replace

from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.engines.real_time_benchmark import Pace, capacity, measure, report, verdict

QUICK = Pace(
    calls=1,
    frames=250,
    stages={
        "encode": Percentiles(8, 9, 12),
        "language": Percentiles(30, 35, 60),
        "decode": Percentiles(7, 8, 9),
    },
    answers=Percentiles(50, 55, 90),
    dropped_frames=0,
)


def test_keeps_up_with_headroom() -> None:
    assert QUICK.keeps_up
    assert verdict(QUICK) == (
        "Verdict: keeps up with 1 call: language takes 35 of 80 ms at p95, 45 ms of headroom."
    )


def test_does_not_keep_up() -> None:
    slow = replace(
        QUICK, calls=2, stages=QUICK.stages | {"encode": Percentiles(70, 81, 99)}, dropped_frames=40
    )
    assert not slow.keeps_up
    assert verdict(slow) == (
        "Verdict: does not keep up with 2 calls: encode takes 81 ms at p95 for 80 ms of speech; "
        "40 frames were dropped."
    )
    assert not replace(QUICK, dropped_frames=3).keeps_up
    assert replace(QUICK, dropped_frames=2).keeps_up, "one hiccup in 20 s is the machine's"
    nothing = Pace(1, 250, {}, None, 245)
    assert not nothing.keeps_up
    assert verdict(nothing) == "Verdict: too slow: not one of 250 frames was answered."


def test_reports_a_line_for_each_stage() -> None:
    lines = report(QUICK)
    assert lines[0].split() == ["milliseconds", "p50", "p95", "max", "headroom"]
    assert lines[2].split() == ["language", "30.0", "35.0", "60.0", "45.0"]
    assert lines[4].split() == ["answer", "50.0", "55.0", "90.0"]
    assert lines[5] == "0 of 250 frames dropped"
    assert lines[6].startswith("Verdict: ")


async def test_measures_any_engine() -> None:
    engine = ParrotEngine(delay_s=0.0)
    await engine.start(lambda _: None)
    pace = await measure(engine, calls=2, frames=4)
    assert (pace.calls, pace.frames, pace.dropped_frames) == (2, 4, 0)
    assert list(pace.stages) == ["parrot"]
    assert pace.answers is not None
    assert engine.running == 0
    await engine.stop()


def test_reports_skipped_listening() -> None:
    pace = replace(QUICK, stages=QUICK.stages | {"listen": Percentiles(3, 4, 9)}, untranscribed_frames=3)
    assert "3 of 250 frames answered, but not transcribed" in report(pace)


def test_reports_the_number_of_calls_and_its_limit() -> None:
    roomy = capacity({1: 30.0, 4: 39.0}, codec_ms=40.0, cores=32)
    assert (roomy.steps, roomy.codecs) == (12, 64)  # 39 ms, and 3 for each further call, up to 64
    assert str(roomy) == "Holds about 12 calls at once: steps 12, codecs 64."
    assert str(capacity({1: 30.0, 4: 39.0}, 80.0, 1)) == "Holds about 1 call at once: codecs 1, steps 12."
    assert capacity({1: 30.0, 2: 60.0, 4: 90.0}, 40.0, 32).steps == 2, "four were too slow"
    assert capacity({1: 30.0}, 40.0, 32).steps == 2, "another call costs no more than the first"
    assert capacity({1: 70.0}, 40.0, 32).calls == 0
    assert capacity({1: 30.0, 4: 39.0}, 40.0, 32, memory=3).calls == 3
    assert capacity({1: 5.0, 4: 5.0}, 0.1, 999).steps == 256
