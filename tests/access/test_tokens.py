"""access/tokens.py: which tokens admit a stream, and which do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moshi_phone.access.refusal import RefusalCause
from moshi_phone.access.tokens import (
    ANY_CALL,
    LIFETIME_SECS,
    StreamTokens,
    TokenRefused,
    overrides_digest_input,
)
from tests.support.refused import refused

CALL = "CA" + "0" * 32
OTHER = "CA" + "1" * 32
NOW = 1_800_000_000.25


@pytest.fixture
def tokens() -> StreamTokens:
    return StreamTokens.from_auth_token("secret")


def test_a_token_admits_its_call_once(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    tokens.spend(token, CALL, NOW + 59)
    with refused(RefusalCause.TOKEN_REUSED, "used before"):
        tokens.spend(token, CALL, NOW + 59)


def test_a_token_expires(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    with refused(RefusalCause.TOKEN_EXPIRED, "expired 10 s ago"):
        tokens.spend(token, CALL, NOW + LIFETIME_SECS + 10)


def test_a_token_is_bound_to_one_call(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    with refused(RefusalCause.TOKEN_OTHER_CALL):
        tokens.spend(token, OTHER, NOW)
    tokens.spend(token, CALL, NOW)  # the mistaken try did not use it up


def test_a_dialled_call_s_token_admits_any_one_call(tokens: StreamTokens) -> None:
    token = tokens.mint(ANY_CALL, NOW, lifetime_secs=120)
    tokens.spend(token, OTHER, NOW + 119)
    with refused(RefusalCause.TOKEN_REUSED):
        tokens.spend(token, CALL, NOW + 119)


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_missing_token_has_its_own_cause(tokens: StreamTokens, nothing: object) -> None:
    with refused(RefusalCause.TOKEN_MISSING):
        tokens.spend(nothing, CALL, NOW)


@pytest.mark.parametrize(
    "token", ["x", "....", 7, [], {}, "a.b.c.d", "ünï.1.2.çødé", "\ud800.1.2.\udfff", "x" * 1_000_000]
)
def test_a_malformed_token_is_forged(tokens: StreamTokens, token: object) -> None:
    with refused(RefusalCause.TOKEN_INVALID):
        tokens.spend(token, CALL, NOW)


def test_each_part_of_a_token_is_covered(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        # The last character of the MAC carries four bits of it: another one may not be equal.
        with refused(RefusalCause.TOKEN_INVALID):
            tokens.spend(changed, CALL, NOW)


def test_a_token_made_with_another_key_is_forged(tokens: StreamTokens) -> None:
    with refused(RefusalCause.TOKEN_INVALID):
        tokens.spend(StreamTokens.from_auth_token("other").mint(CALL, NOW), CALL, NOW)


def test_processes_with_the_same_auth_token_accept_each_other(tokens: StreamTokens) -> None:
    tokens.spend(StreamTokens.from_auth_token("secret").mint(CALL, NOW), CALL, NOW)


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_an_auth_token_each_process_has_its_own_key(nothing: str | None) -> None:
    one, other = StreamTokens.from_auth_token(nothing), StreamTokens.from_auth_token(nothing)
    one.spend(one.mint(CALL, NOW), CALL, NOW)
    with refused(RefusalCause.TOKEN_INVALID):
        other.spend(one.mint(CALL, NOW), CALL, NOW)


def test_spent_tokens_are_forgotten_after_a_day() -> None:
    now_s = 0.0
    tokens = StreamTokens(b"k" * 32, clock=lambda: now_s)
    for hour in range(100):
        now_s = hour * 3600.0
        tokens.spend(tokens.mint(CALL, NOW + now_s), CALL, NOW + now_s)
    assert len(tokens.spent) == 24


@pytest.mark.parametrize("set_back_secs", [30, 3600, 12 * 3600])
def test_a_spent_token_stays_spent_after_the_clock_is_set_back(set_back_secs: float) -> None:
    """Spent tokens used to be forgotten at their expiry; a clock that was set back made them valid again."""
    up_s = 0.0
    tokens = StreamTokens(b"k" * 32, clock=lambda: up_s)
    spent = tokens.mint(CALL, NOW)
    tokens.spend(spent, CALL, NOW)
    up_s = 2 * LIFETIME_SECS
    tokens.spend(tokens.mint(CALL, NOW + up_s), CALL, NOW + up_s)  # a later token makes the old one expire
    up_s += set_back_secs
    with refused(RefusalCause.TOKEN_REUSED):
        tokens.spend(spent, CALL, NOW + up_s - 2 * LIFETIME_SECS - set_back_secs)


def test_a_refusal_does_not_contain_the_token(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    tokens.spend(token, CALL, NOW)
    for at, call in ((NOW, CALL), (NOW, OTHER), (NOW + 100, CALL)):
        with pytest.raises(TokenRefused) as refusal:
            tokens.spend(token, call, at)
        assert not any(part in str(refusal.value) for part in token.split("."))


def test_a_token_fits_a_twiml_parameter(tokens: StreamTokens) -> None:
    assert len(tokens.mint("x" * 100, NOW)) < 500


@pytest.mark.parametrize("call", ["", "a.b", "CA 1", "ü", "x" * 101])
def test_a_token_is_not_issued_for_an_invalid_name(tokens: StreamTokens, call: str) -> None:
    with pytest.raises(ValueError, match="expected a call SID"):
        tokens.mint(call, NOW)


@given(st.text(), st.text())
def test_any_input_raises_token_refused_only(token: str, call: str) -> None:
    with pytest.raises(TokenRefused):
        StreamTokens(b"k" * 32).spend(token, call, NOW)


def test_a_bound_token_requires_the_bound_text(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW, bound_to=overrides_digest_input("You are Anna.", "NATF2"))
    for said in (
        "",
        overrides_digest_input("You are Anna.", ""),
        overrides_digest_input("You are Anna.NATF2", ""),
    ):
        with refused(RefusalCause.TOKEN_INVALID):
            tokens.spend(token, CALL, NOW, bound_to=said)
    tokens.spend(token, CALL, NOW, bound_to=overrides_digest_input("You are Anna.", "NATF2"))
    with refused(RefusalCause.TOKEN_INVALID):
        tokens.spend(tokens.mint(CALL, NOW), CALL, NOW, bound_to=overrides_digest_input("You are Anna.", ""))
