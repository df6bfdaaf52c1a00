from __future__ import annotations

from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.server.calls.pending import HOLD_SECS, KEPT_S, PendingCall, PendingCalls, Reservations
from moshi_phone.telephony.incoming_call import IncomingCall

ANNA = PendingCall(request=CallOverrides(persona="You are Anna."))
NOW_S = 100.0


def test_a_pending_call_is_popped_once() -> None:
    calls = PendingCalls()
    calls.add("CA1", ANNA, NOW_S)
    assert calls.pop("CA2", NOW_S) == PendingCall()
    assert calls.pop("CA1", NOW_S) is ANNA
    assert calls.pop("CA1", NOW_S) == PendingCall()


def test_the_latest_entry_counts() -> None:
    calls, last = PendingCalls(), PendingCall(IncomingCall("CA1", "", ""))
    calls.add("CA1", ANNA, NOW_S)
    calls.add("CA1", last, NOW_S + 1)
    assert calls.pop("CA1", NOW_S + 1) is last


def test_an_entry_expires() -> None:
    calls = PendingCalls()
    calls.add("CA1", ANNA, NOW_S)
    assert calls.pop("CA1", NOW_S + KEPT_S) == PendingCall()
    calls.add("CA1", ANNA, NOW_S, later_s=30.0)  # it is being put through, and the other phone rings
    assert calls.pop("CA2", NOW_S + KEPT_S + 29) == PendingCall()
    assert calls.pop("CA1", NOW_S + KEPT_S + 29) is ANNA


def test_entries_are_bounded() -> None:
    calls = PendingCalls()
    for number in range(1001):
        calls.add(f"CA{number}", ANNA, NOW_S)
    assert calls.pop("CA0", NOW_S) == PendingCall()
    assert calls.pop("CA1", NOW_S) is ANNA


def test_its_repr_contains_no_number() -> None:
    assert "555" not in repr(PendingCall(transfer_to="+15551234567"))


NOW = 100.0


def test_a_reservation_is_released_or_expires() -> None:
    reservations = Reservations()
    reservations.make("CA1", NOW)
    reservations.make("CA2", NOW + 1)
    assert reservations.count(NOW + 1, besides="CA3") == 2
    assert reservations.count(NOW + 1, besides="CA2") == 1
    reservations.release("CA1")
    reservations.release("CA9")
    assert reservations.count(NOW + 1, besides="CA3") == 1
    assert reservations.count(NOW + 1 + HOLD_SECS, besides="CA3") == 0


def test_a_renewed_reservation_counts_from_its_renewal() -> None:
    reservations = Reservations()
    reservations.make("CA1", NOW)
    reservations.make("CA1", NOW + 2)
    assert reservations.count(NOW + HOLD_SECS, besides="") == 1


def test_a_reservation_lasts_as_long_as_twilio_may_take() -> None:
    """A trial account's callers hear an announcement of more than ten seconds first."""
    reservations = Reservations()
    reservations.make("CA1", NOW)
    assert reservations.count(NOW + 15, besides="") == 1
    assert reservations.count(NOW + 60, besides="") == 0, "who never comes keeps nobody out"
