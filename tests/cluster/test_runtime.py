"""cluster/runtime.py: processes that outlive the command are recognized."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moshi_phone.cluster.runtime import ActorName, digest, parse_actor_name

TOKEN = "f" * 32


def test_a_name_identifies_cluster_and_process() -> None:
    name = ActorName(digest(TOKEN), "worker", 3, 2, digest(TOKEN, "settings"), "00c0ffee")
    assert parse_actor_name(str(name)) == name
    gateway = replace(name, kind="gateway", number=12)
    assert parse_actor_name(str(gateway)) == gateway
    assert str(name) != str(replace(name, nonce="00c0ffef"))


@pytest.mark.parametrize(
    "text", ["", "moshi", "moshi-command", "SERVE_CONTROLLER_ACTOR", "moshi-x-worker-1-1-a-b"]
)
def test_other_names_are_ignored(text: str) -> None:
    assert parse_actor_name(text) is None


def test_a_digest_contains_no_secret_and_depends_on_account_and_text() -> None:
    digests = {digest(TOKEN), digest(TOKEN, "a"), digest(TOKEN, "b"), digest("e" * 32, "a")}
    assert len(digests) == 4
    assert {len(one) for one in digests} == {12}
