"""server/unused_options.py: what is set and changes nothing."""

from __future__ import annotations

from dataclasses import replace

from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.server.unused_options import unused_options


def test_a_transfer_that_nobody_can_ask_for() -> None:
    alone = Settings(calls=CallOptions(transfer_to="+15559990000"))
    (said,) = unused_options(alone)
    assert said.startswith("No caller can ask for --transfer-to: set --transfer-key")
    assert unused_options(Settings()) == []
    assert unused_options(replace(alone, calls=replace(alone.calls, transfer_key="0"))) == []
    assert unused_options(replace(alone, server=ServerOptions(pipeline="mine:pipeline"))) == []
