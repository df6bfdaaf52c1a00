from __future__ import annotations

import pytest

from moshi_phone.server.net.connections import (
    NO_REQUEST,
    SEND_STALLED,
    TOO_MANY,
    TOO_MANY_OF_ONE,
    ConnectionLimits,
    Connections,
)
from tests.support.logs import Logged


class Guest:
    """A connection that records why it was cut off."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.cause: str | None = None

    def cut_off(self, cause: str) -> None:
        self.cause = cause
        self.connections.note_cut_off(self, cause)


def guests(connections: Connections, hosts: list[str | None]) -> list[Guest]:
    came = [Guest(connections) for _ in hosts]
    for guest, host in zip(came, hosts, strict=True):
        connections.wait(guest, host)
    return came


def test_above_the_limit_the_oldest_waiting_connection_is_cut_off() -> None:
    connections = Connections(ConnectionLimits(waiting=3))
    came = guests(connections, ["127.0.0.1"] * 5)
    assert [guest.cause for guest in came] == [TOO_MANY, TOO_MANY, None, None, None]
    assert (connections.waiting, connections.cut_off) == (3, {TOO_MANY: 2})


def test_a_served_connection_no_longer_counts_as_waiting() -> None:
    connections = Connections(ConnectionLimits(waiting=2))
    first, second = guests(connections, [None, None])
    connections.leave(first)
    third = guests(connections, [None])[0]
    assert (first.cause, second.cause, third.cause) == (None, None, None)


@pytest.mark.parametrize(
    ("hosts", "lost"),
    [
        (["203.0.113.7"] * 3 + ["203.0.113.8"], [0]),
        (["::ffff:203.0.113.7"] * 3, [0]),
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff", "2001:db8:0:1::1"], [0]),
        (["127.0.0.1"] * 4 + ["::1"] * 4, []),  # a tunnel or a proxy, which brings everybody
        ([None] * 4, []),
        (["unix socket"] * 3, [0]),
    ],
)
def test_one_address_cannot_use_all_waiting_connections(hosts: list[str | None], lost: list[int]) -> None:
    connections = Connections(ConnectionLimits(waiting_per_address=2))
    came = guests(connections, hosts)
    assert [n for n, guest in enumerate(came) if guest.cause] == lost
    assert connections.cut_off[TOO_MANY_OF_ONE] == len(lost)


def test_cut_off_connections_are_logged_at_powers_of_ten(logged: Logged) -> None:
    connections = Connections()
    for guest in [Guest(connections) for _ in range(120)]:
        guest.cut_off(SEND_STALLED)
    assert [line.rstrip().rpartition("; ")[2] for line in logged.lines] == [
        "1 so far",
        "10 so far",
        "100 so far",
    ]


def test_a_browser_s_spare_connection_is_not_a_warning(logged: Logged) -> None:
    connections = Connections()
    Guest(connections).cut_off(NO_REQUEST)
    assert logged.text.startswith("DEBUG")
