"""server/unused_options.py: options that have no effect."""

from __future__ import annotations

from dataclasses import replace

from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.server.unused_options import unused_options


def test_a_transfer_without_a_trigger_has_no_effect() -> None:
    alone = Settings(calls=CallOptions(transfer_to="+15559990000"))
    (said,) = unused_options(alone)
    assert said.startswith("No caller can ask for --transfer-to: set --transfer-key")
    assert unused_options(Settings()) == []
    assert unused_options(replace(alone, calls=replace(alone.calls, transfer_key="0"))) == []
    assert unused_options(replace(alone, server=ServerOptions(pipeline="mine:pipeline"))) == []
