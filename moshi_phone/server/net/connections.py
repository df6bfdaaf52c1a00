"""Open connections, and limits on what each may cost before and during a call.

The limits must not harm Twilio. All of its connections may come from one address, or from loopback through a
tunnel or a proxy on this machine. So a new connection is never refused: if too many wait, the oldest waiting
one is disconnected. Twilio's connections wait for some hundredths of a second, an attacker's as long as
possible.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from loguru import logger

from moshi_phone.access.source import is_loopback
from moshi_phone.runtime.rate_limited_log import RateLimitedLog
from moshi_phone.server.net.connection_checks import ConnectionChecks
from moshi_phone.server.net.read_turns import ReadTurns

NO_REQUEST, NO_BODY = "no whole request came in time", "a request's body did not come in time"
TOO_MANY, TOO_MANY_OF_ONE = "too many waited", "too many of one address waited"
SEND_STALLED, CLOSE_TIMEOUT = "it took nothing of what was sent", "it did not let itself be closed"
NO_PONG, FLOOD = "it answered no ping", "it sent pings without end"
FRAGMENTS = "it sent a message in too many pieces"
NO_HANDSHAKE = "it did not become a WebSocket in time"
AFTER_CLOSE = "it sent on after it was closed"
INTERNAL = "of an error of ours"
_IPV6_SITE_BITS = 64  # one customer usually has a whole /64


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of one connection.

    Attributes:
        head_secs: time for a request's head, from the connection or the last response.
        body_secs: time for its body.
        stalled_secs: how long the peer may leave sent data unread.
        closing_secs: time for closing: the peer's answer, then the unsent data.
        ping_secs: interval between pings of a WebSocket, and the time for each pong.
        waiting: maximum number of connections that wait to become a request or a call.
        waiting_per_address: the same for one address. Loopback is exempt: tunnels and proxies connect from
            it.
        check_secs: interval between checks of a connection.
    """

    head_secs: float = 10.0
    body_secs: float = 10.0
    stalled_secs: float = 5.0
    closing_secs: float = 2.0
    ping_secs: float = 10.0
    waiting: int = 128
    waiting_per_address: int = 32
    check_secs: float = 0.5


class Connection(Protocol):
    """One TCP connection."""

    def cut_off(self, cause: str) -> None:
        """Abort the connection and drop unsent data."""


@dataclass
class Connections:
    """The waiting connections of one server, and counts of disconnections.

    Attributes:
        limits: limits of each connection.
        cut_off: number of disconnections by cause.
        turns: schedules parsing.
        log: for messages that strangers can trigger at will.
    """

    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    cut_off: Counter[str] = field(default_factory=Counter[str])
    turns: ReadTurns = field(default_factory=ReadTurns)
    log: RateLimitedLog = field(default_factory=RateLimitedLog)
    # Oldest first; the value is the address that shares its limit.
    _waiting: dict[Connection, str | None] = field(default_factory=dict[Connection, str | None])

    @cached_property
    def checks(self) -> ConnectionChecks:
        """Calls the checks of each connection."""
        return ConnectionChecks(self.limits.check_secs)

    @property
    def waiting(self) -> int:
        """Number of waiting connections."""
        return len(self._waiting)

    def wait(self, connection: Connection, host: str | None) -> None:
        """Add a connection that starts to wait. If too many wait, disconnect the oldest.

        Args:
            connection: one that waits already counts as new.
            host: IP address of the peer, if known.
        """
        site = _site(host)
        self._waiting.pop(connection, None)  # so that it moves to the end
        self._waiting[connection] = site
        neighbours = [one for one, other in self._waiting.items() if site is not None and other == site]
        if len(neighbours) > self.limits.waiting_per_address:
            neighbours[0].cut_off(TOO_MANY_OF_ONE)
        elif len(self._waiting) > self.limits.waiting:
            next(iter(self._waiting)).cut_off(TOO_MANY)

    def leave(self, connection: Connection) -> None:
        """Remove a connection that no longer waits."""
        self._waiting.pop(connection, None)

    def note_cut_off(self, connection: Connection, cause: str) -> None:
        """Count a disconnection, and log the 1st, 10th, 100th …."""
        self.leave(connection)
        self.cut_off[cause] += 1
        if _is_power_of_ten(self.cut_off[cause]):  # an attacker must not be able to fill the log
            # Browsers open spare connections and leave them unused.
            level = "DEBUG" if cause == NO_REQUEST else "WARNING"
            logger.log(level, "Cut off a connection, because {}; {} so far", cause, self.cut_off[cause])


def _is_power_of_ten(number: int) -> bool:
    return str(number).rstrip("0") == "1"


def _site(host: str | None) -> str | None:
    """Return the key of a shared limit: an IPv4 address or an IPv6 /64 network; None for no limit."""
    if host is None or is_loopback(host):
        return None
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False))
    return host
