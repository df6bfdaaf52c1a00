"""The whole of ``phone_call`` with fake frames, in simulated time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    Frame,
    InputDTMFFrame,
    InterruptionFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.tests.utils import run_test

from moshi_phone.engines.duplex import CallerText, DuplexStep
from moshi_phone.testing import (
    FakeEngine,
    FakeSession,
    FakeTransport,
    caller_frames,
    heard,
    run_simulated,
)
from pipelines.call_parts import CallParts
from pipelines.phone_call import phone_call
from processors.frames import EngineMetricsFrame, MarkOutputFrame, MulawInputFrame, MulawOutputFrame

RATE_HZ = 8_000


def speech(secs: float) -> NDArray[np.float32]:
    """Noise in the phone's band."""
    noise = np.random.default_rng(1).normal(0, 1, round(secs * RATE_HZ))
    spectrum = np.fft.rfft(noise)
    hz = np.fft.rfftfreq(noise.size, 1 / RATE_HZ)
    spectrum[(hz < 300) | (hz > 3_000)] = 0
    return (0.2 * np.fft.irfft(spectrum, noise.size)).astype(np.float32)


def call(session: FakeSession, frames: Sequence[Frame]) -> tuple[FakeTransport, Sequence[Frame]]:
    """Run a call; return the sent frames, and those that came back upstream."""
    transport = FakeTransport()
    _, up = run_simulated(run_test(phone_call(CallParts(transport, session)), frames_to_send=frames))
    return transport, up


def loud_step(text: str = "") -> DuplexStep:
    tone = 0.3 * np.sin(2 * np.pi * 440 / 24_000 * np.arange(1_920))
    return DuplexStep(tone.astype(np.float32), text=text)


def test_a_mirror_returns_the_caller_s_audio_after_three_milliseconds() -> None:
    said = speech(4)
    transport, _ = call(FakeSession(), caller_frames(said))
    back = heard(transport.sent)
    assert back.size == said.size
    delays = [np.dot(back[at + RATE_HZ : at + 2 * RATE_HZ], said[RATE_HZ : 2 * RATE_HZ]) for at in range(80)]
    delay = int(np.argmax(delays))
    assert delay / RATE_HZ == pytest.approx(0.003, abs=0.00025)  # two resamplers
    error = back[delay:] - said[: said.size - delay]
    assert np.sqrt(np.mean(error[800:] ** 2)) < 0.1 * np.sqrt(np.mean(said**2))  # µ-law, twice


def test_every_frame_of_a_minute_is_answered_at_once() -> None:
    began_s = time.perf_counter()
    session = FakeSession()
    transport, _ = call(session, caller_frames(np.zeros(60 * RATE_HZ, np.float32)))
    assert time.perf_counter() - began_s < 30  # of 60, on a machine that is busy with other tests
    assert session.steps == 750
    delays_ms = {frame.delay_ms for frame in transport.sent_of(EngineMetricsFrame)}
    assert delays_ms == {0.0}


def test_each_packet_is_one_frame_and_marks_are_sent() -> None:
    transport, _ = call(FakeSession(), caller_frames(speech(1.6)))
    assert [len(frame.mulaw) for frame in transport.sent_of(MulawOutputFrame)] == [640] * 20
    assert transport.sent_of(MarkOutputFrame)
    assert transport.sent_of(MulawInputFrame) == []  # only the engine returns the caller's audio


def test_speech_is_enclosed_by_frames_and_its_words_come_with_it() -> None:
    steps = [loud_step(" Good"), loud_step(" morning")]
    transport, _ = call(FakeSession(answers=steps), caller_frames(np.zeros(2 * RATE_HZ, np.float32)))
    kinds = [type(frame) for frame in transport.sent]
    assert [frame.text for frame in transport.sent_of(TTSTextFrame)] == [" Good", " morning"]
    assert kinds.index(TTSStartedFrame) < kinds.index(MulawOutputFrame) < kinds.index(TTSStoppedFrame)
    loudness = np.abs(heard(transport.sent)).reshape(-1, 640).max(axis=1)
    assert loudness[:2].min() > 0.1
    assert loudness[3:].max() < 0.01  # the third has the resampler's last 3 ms


def test_the_caller_s_words_are_pushed_both_ways() -> None:
    step = DuplexStep(np.zeros(1_920, np.float32), caller_text=(CallerText(" Hello", 0.0),))
    transport, up = call(FakeSession(answers=[step]), caller_frames(np.zeros(3 * RATE_HZ, np.float32)))
    for way in (transport.sent, up):
        assert [frame.text for frame in way if isinstance(frame, TranscriptionFrame)] == ["Hello"]


def test_words_to_say_reach_the_engine() -> None:
    session = FakeSession()
    call(session, [TTSSpeakFrame("Your table is booked."), *caller_frames(np.zeros(640, np.float32))])
    assert session.sayings == ["Your table is booked."]


def test_keys_and_interruptions_pass() -> None:
    key = InputDTMFFrame(KeypadEntry.FIVE)
    transport, _ = call(FakeSession(), [*caller_frames(speech(0.16)), key, InterruptionFrame()])
    assert transport.sent_of(InputDTMFFrame) == [key]
    assert len(transport.sent_of(InterruptionFrame)) == 1


def test_an_engine_that_fails_is_one_permanent_error() -> None:
    session = FakeEngine(fails_at=2).open_session()
    _, up = call(session, caller_frames(np.zeros(RATE_HZ // 2, np.float32)))
    errors = [frame for frame in up if type(frame).__name__ == "ErrorFrame"]
    assert len(errors) == 1
    assert "The fake engine failed" in str(errors[0])


def test_a_slow_step_is_compensated_in_the_next_pause() -> None:
    """It is 400 ms late once; the following silence is trimmed, and later audio is on time again."""
    engine = FakeEngine(step_secs=lambda step: 0.4 if step == 10 else 0.0)
    said = speech(6)
    said[2 * RATE_HZ : 4 * RATE_HZ] = 0
    transport, _ = call(engine.open_session(), caller_frames(said))
    missing_s = (said.size - heard(transport.sent).size) / RATE_HZ
    assert 0.1 < missing_s <= 0.4
