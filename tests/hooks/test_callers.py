from __future__ import annotations

import itertools

import pytest

from moshi_phone.access.refusal import Refusal
from moshi_phone.hooks import callers
from moshi_phone.hooks.callers import HOUR_S, BadPattern, CallerRules, parse_pattern

CALLS = itertools.count()


def sid() -> str:
    """Return the SID of a new call."""
    return f"CA{next(CALLS)}"


ANNA, BEN, HIDDEN = "+15551234567", "+41441234567", "anonymous"


def why(refusal: Refusal | None) -> str:
    assert refusal is not None
    return refusal.reason


def test_without_rules_everybody_may_call() -> None:
    assert CallerRules().refusal(HIDDEN, sid(), 0.0) is None


def test_the_lists() -> None:
    rules = CallerRules(allow=["+1555*", BEN], deny=["+1 555 123-4567"])
    assert why(rules.refusal(ANNA, sid(), 0.0)) == "the number is on the --deny list"
    assert rules.refusal("+15559999999", sid(), 0.0) is None
    assert rules.refusal(BEN, sid(), 0.0) is None
    assert why(rules.refusal(BEN + "8", sid(), 0.0)) == "the number is not on the --allow list"
    assert why(rules.refusal(HIDDEN, sid(), 0.0)) == "the number is not on the --allow list"


def test_calls_per_hour_are_limited_and_refused_ones_do_not_count() -> None:
    rules = CallerRules(calls_per_hour=2)
    assert [rules.refusal(ANNA, sid(), at_s) for at_s in (0.0, 1.0)] == [None, None]
    assert why(rules.refusal(ANNA, sid(), 2.0)) == "the number has called 2 times within an hour"
    assert rules.refusal(BEN, sid(), 2.0) is None
    assert rules.refusal(ANNA, sid(), HOUR_S) is None
    assert rules.refusal(ANNA, sid(), HOUR_S + 0.5) is not None
    assert rules.refusal(ANNA, sid(), HOUR_S + 1.0) is None


def test_strangers_cannot_use_up_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_MAX_CALLERS", 3)
    rules = CallerRules(calls_per_hour=1)
    for number in range(10):
        rules.refusal(f"+1555{number}", sid(), 0.0)
    assert len(rules._calls) == 3
    assert rules.refusal("+15559", sid(), 1.0) is not None


@pytest.mark.parametrize("text", ["", "*", "5551234567", "+0155", "+1555**", "+1555*4", "anna"])
def test_invalid_patterns_are_refused(text: str) -> None:
    with pytest.raises(BadPattern, match=r"^--deny: expected a number such as \+15551234567, or"):
        parse_pattern(text, "--deny")


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("anonymous", "anonymous"),
        ("Restricted", "anonymous"),
        ("+44 (0)20*", "+4420*"),
        ("+44 (0)20 7946 0018", "+442079460018"),
        ("sip:Anna@example.com", "sip:anna@example.com"),
        ("client:*", "client:*"),
    ],
)
def test_valid_patterns(text: str, pattern: str) -> None:
    assert parse_pattern(text, "--deny") == pattern
