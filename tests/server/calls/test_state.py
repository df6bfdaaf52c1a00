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
def test_a_server_reachable_from_elsewhere_is_public(host: str, url: str | None, expected: bool) -> None:
    auth = StreamAuth.for_account("f" * 32, PublicAddress(url))
    assert (
        ServerState(FakeEngine(), Settings(server=ServerOptions(host=host)), auth=auth).is_public()
        is expected
    )


def test_each_call_has_its_own_token() -> None:
    state = ServerState(FakeEngine())
    assert state.mint("CA1") != state.mint("CA2")


def test_without_a_configured_hook_none_is_called() -> None:
    assert ServerState(FakeEngine()).on_call is None
    asked = ServerState(FakeEngine(), Settings(hooks=HookOptions(on_call="https://example.com/call"))).on_call
    assert asked is not None
