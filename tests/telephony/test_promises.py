"""telephony/promises.py: what is as good as taken."""

from __future__ import annotations

from telephony.promises import HOLD_SECS, Promises

NOW = 100.0


def test_a_promise_is_kept_or_forgotten() -> None:
    promises = Promises()
    promises.make("CA1", NOW)
    promises.make("CA2", NOW + 1)
    assert promises.count(NOW + 1, besides="CA3") == 2
    assert promises.count(NOW + 1, besides="CA2") == 1
    promises.keep("CA1")
    promises.keep("CA9")
    assert promises.count(NOW + 1, besides="CA3") == 1
    assert promises.count(NOW + 1 + HOLD_SECS, besides="CA3") == 0


def test_a_promise_that_is_made_again_counts_from_then() -> None:
    promises = Promises()
    promises.make("CA1", NOW)
    promises.make("CA1", NOW + 2)
    assert promises.count(NOW + HOLD_SECS, besides="") == 1
