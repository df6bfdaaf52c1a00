"""The page's codec, resampler and files, in a real Chromium, compared with the server's."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
import soundfile
from playwright.async_api import Page

from moshi_phone.audio import g711, pcm
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony import media_stream
from tests.support.phone import serving
from tests.web.browser import browsing

pytestmark = pytest.mark.browser


@asynccontextmanager
async def opened() -> AsyncIterator[Page]:
    """Open the page of a ready server."""
    async with serving(ServerState(ParrotEngine())) as address, browsing(f"http://{address}/") as page:
        yield page


async def test_the_codec_and_the_resampler_agree_with_the_server_s() -> None:
    """Every µ-law code, and a tone through both resamplers."""
    async with opened() as page:
        codes = await page.evaluate(
            """async () => {
              const { decode, encode } = await import('/web/mulaw.js');
              const all = Uint8Array.from({ length: 256 }, (_, i) => i);
              return { samples: [...decode(all)], again: [...encode(decode(all))] };
            }"""
        )
        tone = await page.evaluate(
            """async () => {
              const { Resampler } = await import('/web/resampler.js');
              const down = new Resampler(44100, 8000), up = new Resampler(8000, 48000);
              const out = [];
              for (let at = 0; at < 44100; at += 128) {
                const block = Float32Array.from({ length: 128 }, (_, i) =>
                  0.5 * Math.sin((2 * Math.PI * 1000 * (at + i)) / 44100) +
                  0.5 * Math.sin((2 * Math.PI * 6000 * (at + i)) / 44100));
                out.push(...up.push(down.push(block)));
              }
              return out;
            }"""
        )
    expected = pcm.to_float(g711.decode(bytes(range(256))))
    assert np.allclose(codes["samples"], expected)
    # Both zeros of µ-law are the same sample.
    assert [code for code in range(256) if codes["again"][code] != code] == [127]
    heard = np.array(tone)
    assert len(heard) == pytest.approx(48_000, abs=400)
    spectrum = np.abs(np.fft.rfft(heard[4_800:43_200] * np.hanning(38_400))) / 38_400 * 4
    spectrum_db = 20 * np.log10(spectrum + 1e-9)
    peak = int(np.argmax(spectrum_db))
    assert peak * 48_000 / 38_400 == pytest.approx(1_000, abs=2)
    assert spectrum_db[peak] == pytest.approx(-6, abs=0.3)
    spectrum_db[peak - 4 : peak + 5] = -200
    assert spectrum_db.max() < -60  # neither the 6 kHz tone, nor its alias at 2 kHz, nor images


async def test_its_messages_follow_twilio_s_protocol() -> None:
    async with opened() as page:
        sent = await page.evaluate(
            """async () => {
              const { StreamMessages } = await import('/web/stream_messages.js');
              const messages = new StreamMessages('CA1');
              const packet = new Uint8Array(160).fill(7);
              return [messages.connected(), messages.start({ token: 't' }), messages.media(packet),
                messages.media(packet), messages.dtmf('#'), messages.mark('m'), messages.stop()];
            }"""
        )
    connected, start, first, second, dtmf, mark, stop = map(media_stream.parse, sent)
    assert connected == media_stream.Connected()
    assert isinstance(start, media_stream.Start)
    assert (start.call_sid, start.custom_parameters) == ("CA1", {"token": "t"})
    assert start.is_phone_audio
    assert isinstance(first, media_stream.Media)
    assert isinstance(second, media_stream.Media)
    assert first.mulaw == second.mulaw == bytes([7]) * 160
    assert (first.timestamp_ms, second.timestamp_ms) == (0, 20)
    assert (dtmf, mark, stop) == (media_stream.Dtmf("#"), media_stream.Mark("m"), media_stream.Stop())
    numbered = [json.loads(message) for message in sent[1:]]
    assert [message["sequenceNumber"] for message in numbered] == ["1", "2", "3", "4", "5", "6"]
    assert {message["streamSid"] for message in numbered} == {start.stream_sid}
    assert numbered[3]["dtmf"]["track"] == "inbound_track"


async def test_a_recording_has_both_sides_at_their_times() -> None:
    async with opened() as page:
        encoded = await page.evaluate(
            """async () => {
              const { Recording } = await import('/web/recording.js');
              const recording = new Recording();
              for (let i = 0; i < 10; i++) recording.say(new Uint8Array(160).fill(0x10), 5 + i * 0.02);
              recording.hear(new Uint8Array(640).fill(0x90), 5.1);
              recording.hear(new Uint8Array(80).fill(0x90), 5.25);
              const bytes = new Uint8Array(await recording.toWav().arrayBuffer());
              return { secs: recording.secs, wav: btoa(String.fromCharCode(...bytes)) };
            }"""
        )
    sides, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(encoded["wav"])), dtype="int16")
    assert (rate_hz, sides.shape, encoded["secs"]) == (8000, (2080, 2), 0.26)
    said, heard = (np.frombuffer(g711.decode(bytes([code])), "<i2")[0] for code in (0x10, 0x90))
    assert np.array_equal(sides[:, 0], np.where(np.arange(2080) < 1600, said, 0))
    at = np.arange(2080)
    sounds = ((at >= 800) & (at < 1440)) | (at >= 2000)
    assert np.array_equal(sides[:, 1], np.where(sounds, heard, 0))


async def test_a_transcript_is_in_order_of_time() -> None:
    lines = [{"at_s": i, "text": f"line {i}", "speaker": "bot"} for i in range(300)]
    async with opened() as page:
        text = await page.evaluate(
            """async (lines) => {
              const { Transcript } = await import('/web/transcript.js');
              const list = document.createElement('ol');
              const names = () => ({ caller: 'You', bot: 'Parrot' });
              const transcript = new Transcript(document.body, list, names);
              transcript.show(lines.slice(0, 200));
              transcript.show(lines.slice(100));  // the server keeps the last 200
              transcript.show([{ at_s: 0.5, text: 'late', speaker: 'caller' }]);
              transcript.show([{ at_s: 0.5, text: 'late words', speaker: 'caller' }]);
              transcript.show([{ at_s: 299.5, text: 'nobody said' }]);
              const atOnce = ['Oh.', 'Hello?'].map((text) => ({ at_s: 0, text, speaker: 'caller' }));
              transcript.show(atOnce.slice(0, 1));
              transcript.show(atOnce);
              return { text: transcript.toText(), shown: [...list.children].map((item) => item.textContent) };
            }""",
            lines,
        )
    written = text["text"].splitlines()
    assert len(written) == len(text["shown"]) == 304
    assert written[:3] == ["   0:00  Parrot: line 0", "   0:00  You: Oh.", "   0:00  You: Hello?"]
    assert written[3:5] == ["   0:00  You: late words", "   0:01  Parrot: line 1"]
    assert written[-2:] == ["   4:59  Parrot: line 299", "   4:59  nobody said"]
    assert text["shown"][3] == "0:00Youlate words"
    assert text["shown"][-1] == "4:59nobody said"


async def test_a_sparkline_has_a_fixed_scale_with_the_target() -> None:
    async with opened() as page:
        drawn = await page.evaluate(
            """async () => {
              const { Sparkline } = await import('/web/sparkline.js');
              const svg = document.getElementById('delay-line');
              const line = new Sparkline(svg);
              for (const ms of [0, 380, 600, 5000, 380]) line.push(ms);
              const points = svg.querySelector('polyline').getAttribute('points').split(' ');
              return { heights: points.map((point) => Number(point.split(',')[1])),
                target: Number(svg.querySelector('line').getAttribute('y1')) };
            }"""
        )
    zero, on_target, top, beyond, after = drawn["heights"]
    assert (on_target, after) == (drawn["target"], drawn["target"])
    assert (zero, top, beyond) == (31, 1, 1)


async def test_an_echo_of_the_page_s_call_is_reported() -> None:
    async with opened() as page:
        texts = await page.evaluate(
            """async () => {
              const { MetricsView } = await import('/web/metrics_view.js');
              const view = new MetricsView(document), echo = document.querySelector('#echo');
              const parts = { frame: 80, filters: 3, processing: 7, playout: 30 };
              const measured = { delay_ms: 120, backlog_frames: 0, delay_parts_ms: parts };
              const texts = [null, { delay_ms: 380, loss_db: 15.2, removed_db: 25.4, found_s: 3.4 },
                { delay_ms: 60, loss_db: 6, removed_db: 0, found_s: 2 }].map((found) => {
                view.show({ ...measured, echo: found });
                return echo.textContent;
              });
              view.clear();
              return [...texts, echo.textContent];
            }"""
        )
    assert texts == [
        "",
        "After 3 s, your loudspeaker's echo was found: 380 ms late, 15 dB down. "
        "It is cancelled: 25 dB weaker.",
        "After 2 s, your loudspeaker's echo was found: 60 ms late, 6 dB down. It is not cancelled.",
        "",
    ]
