from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from moshi_phone.rehearse.options import RehearseOptions
from moshi_phone.rehearse.provenance import Provenance, machine
from moshi_phone.runtime.version import VERSION


@dataclass(frozen=True)
class Secretive:
    password: str = field(default="secret", repr=False)
    model: Path | None = None


def test_it_states_time_machine_and_options_without_secrets() -> None:
    options = RehearseOptions(url="ws://me:secret@127.0.0.1:5001/stream", report=Path("here"))
    told = Provenance.now(options, Secretive(model=Path("a/b"))).answered_by("moshi").as_json()
    assert json.loads(json.dumps(told)) == told
    assert "secret" not in json.dumps(told)
    assert told["options"]["url"] == "ws://127.0.0.1:5001/stream"
    assert told["options"]["model"] == "a/b"
    assert (told["engine"], told["version"]) == ("moshi", VERSION)
    assert abs(datetime.fromisoformat(told["date"]) - datetime.now(UTC)).total_seconds() < 60


def test_the_summary_names_engine_date_and_machine() -> None:
    provenance = Provenance(datetime(2026, 1, 31, 12, 30, tzinfo=UTC), "1.2.3", "Linux x, 2 cores", None, {})
    assert provenance.line == "engine unknown · 2026-01-31 12:30 UTC · Linux x, 2 cores · version 1.2.3"
    assert provenance.answered_by("parrot").line.startswith("parrot · ")


def test_the_machine_is_named_without_its_host_name() -> None:
    assert re.fullmatch(r"\w+ \w+, \d+ cores?", machine())
    assert socket.gethostname() not in machine()
