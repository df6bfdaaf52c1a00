"""telephony/reservations.py: what is as good as taken."""

from __future__ import annotations

from moshi_phone.server.calls.reservations import HOLD_SECS, Reservations

NOW = 100.0


def test_a_promise_is_kept_or_forgotten() -> None:
    reservations = Reservations()
    reservations.make("CA1", NOW)
    reservations.make("CA2", NOW + 1)
    assert reservations.count(NOW + 1, besides="CA3") == 2
    assert reservations.count(NOW + 1, besides="CA2") == 1
    reservations.keep("CA1")
    reservations.keep("CA9")
    assert reservations.count(NOW + 1, besides="CA3") == 1
    assert reservations.count(NOW + 1 + HOLD_SECS, besides="CA3") == 0


def test_a_promise_that_is_made_again_counts_from_then() -> None:
    reservations = Reservations()
    reservations.make("CA1", NOW)
    reservations.make("CA1", NOW + 2)
    assert reservations.count(NOW + HOLD_SECS, besides="") == 1
