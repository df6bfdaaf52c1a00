from __future__ import annotations

import pytest

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.hooks.options import HookOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.testing.engine import FakeEngine


@pytest.mark.parametrize(
    ("host", "url", "expected"),
    [
        ("127.0.0.1", None, False),
        ("0.0.0.0", None, True),  # noqa: S104
        ("127.0.0.1", "https://phone.example.com", True),
    ],
)
def test_public_is_what_can_be_reached_from_elsewhere(host: str, url: str | None, expected: bool) -> None:
    auth = StreamAuth.for_account("f" * 32, PublicAddress(url))
    assert (
        ServerState(FakeEngine(), Settings(server=ServerOptions(host=host)), auth=auth).is_public()
        is expected
    )


def test_a_token_is_the_call_s_own() -> None:
    state = ServerState(FakeEngine())
    assert state.mint("CA1") != state.mint("CA2")


def test_a_hook_is_asked_only_where_one_is_named() -> None:
    assert ServerState(FakeEngine()).on_call is None
    asked = ServerState(FakeEngine(), Settings(hooks=HookOptions(on_call="https://example.com/call"))).on_call
    assert asked is not None
