"""docs/scale.md shows what its commands print, and their inputs are real."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from benchmarks.scale import (
    FIRST_CALL_GB,
    LINE_CPU_MS,
    MACHINES,
    NEXT_CALL_GB,
    PACKET_BYTES,
    PACKETS_PER_S,
    TABLES,
    Machine,
    Prices,
    cost_per_hour,
    message_from_twilio,
    message_to_twilio,
    opus_kbit_s,
    phone_kbit_s,
    wire_bytes,
)
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.telephony.media_stream import Media, parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("title", TABLES)
def test_the_page_shows_what_the_command_prints(title: str) -> None:
    assert "\n".join(TABLES[title]()) in PAGE


def test_the_messages_are_real_ones() -> None:
    from_twilio, to_twilio = parse(message_from_twilio()), parse(message_to_twilio())
    assert isinstance(from_twilio, Media)
    assert isinstance(to_twilio, Media)
    assert len(from_twilio.mulaw) == PACKET_BYTES
    assert len(to_twilio.mulaw) == 640
    assert PACKETS_PER_S * PACKET_BYTES == PHONE_RATE_HZ


def test_a_call_s_bandwidth_includes_base64_and_json() -> None:
    base64_kbit_s = len(base64.b64encode(bytes(PHONE_RATE_HZ))) * 8 / 1000
    for kbit_s in phone_kbit_s():
        assert base64_kbit_s < kbit_s < 3 * 64
    assert max(opus_kbit_s()) < min(phone_kbit_s())


@pytest.mark.parametrize(
    ("message_bytes", "masked", "more"), [(125, False, 2), (126, False, 4), (126, True, 8)]
)
def test_the_length_of_a_websocket_header(message_bytes: int, masked: bool, more: int) -> None:
    bare = wire_bytes(0, masked=False) - 2
    assert wire_bytes(message_bytes, masked=masked) == bare + message_bytes + more


def test_the_limiting_resource_of_a_machine() -> None:
    assert Machine("no room", 8, 10_000, 64, 1.0).calls == 0
    assert Machine("room for two", 15, 10_000, 64, 1.0).bounds[0] == 2
    assert Machine("its bytes", 200, 400, 64, 1.0).bounds[1] == 5  # (4.8 + 5 × 1.6) GB at 200 GB/s: 64 ms
    assert Machine("its launches", 200, 10_000, 64, 50.0).bounds[1] == 5  # 50 ms × (1 + 4 × 0.07) = 64 ms
    assert Machine("too slow", 200, 100, 64, 1.0).bounds[1] == 0
    assert all(machine.calls == min(machine.bounds) >= 1 for machine in MACHINES)


def test_the_cost_per_hour_follows_its_formula() -> None:
    machines, phone, _ = cost_per_hour(1_000, 4, Prices(machine_hour=2.0, phone_minute=0.5))
    assert machines == 2.0 * 258  # 1,029 sessions by Erlang's formula
    assert phone == 1_000 * 60 * 0.5


def test_figures_cited_from_other_pages_are_current() -> None:
    benchmarks = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    (line,) = (row for row in benchmarks.splitlines() if row.startswith("| 16 | this line |"))
    cpu_ms_per_call_second = float(line.split("|")[-3])
    assert cpu_ms_per_call_second == LINE_CPU_MS
    moshi = (ROOT / "docs" / "moshi.md").read_text(encoding="utf-8")
    assert f"about {FIRST_CALL_GB} GB" in moshi
    assert f"{NEXT_CALL_GB} GB" in moshi
