"""Who is connected, and what a connection may cost before and after it is a call.

The limits must not harm the phone company, all of whose connections may come from one address, or, through
a tunnel or a proxy on this machine, from loopback. So an address is not asked to wait its turn: where too
many wait, the one that has waited longest goes. A caller of Twilio's waits for some hundredths of a second,
an attacker who holds connections open for as long as he can.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from loguru import logger

from moshi_phone.access.source import is_loopback
from moshi_phone.runtime.rate_limited_log import RateLimitedLog
from moshi_phone.server.net.read_turns import ReadTurns

NO_REQUEST, NO_BODY = "no whole request came in time", "a request's body did not come in time"
TOO_MANY, TOO_MANY_OF_ONE = "too many waited", "too many of one address waited"
SEND_STALLED, CLOSE_TIMEOUT = "it took nothing of what was sent", "it did not let itself be closed"
NO_PONG, FLOOD = "it answered no ping", "it sent pings without end"
FRAGMENTS = "it sent a message in too many pieces"
NO_HANDSHAKE = "it did not become a WebSocket in time"
AFTER_CLOSE = "it sent on after it was closed"
INTERNAL = "of an error of ours"
_IPV6_SITE_BITS = 64  # a single customer has at least so much to choose addresses from


@dataclass(frozen=True)
class ConnectionLimits:
    """What one connection may take.

    Attributes:
        head_secs: for a request's head, from the connection or the last response.
        body_secs: for its body.
        stalled_secs: for how long it may take nothing of what is ready to be sent.
        closing_secs: for closing: the other side's answer, and then what is still unsent.
        ping_secs: how often the other side of a WebSocket is asked whether it is there, and for how long
            it may owe the answer.
        waiting: how many connections may wait to become a request or a call, in all.
        waiting_per_address: how many of one address; from loopback come tunnels and proxies, so there
            this does not apply.
        check_secs: how often each connection is looked at.
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
        """End it at once, whatever is unsent."""


@dataclass
class Connections:
    """The connections of one server that wait to become a request or a call, and those that were cut off.

    Attributes:
        limits: what each may take.
        cut_off: how many were cut off, by cause.
        turns: in which they parse what they have read.
        log: of what strangers can cause at will.
    """

    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    cut_off: Counter[str] = field(default_factory=Counter[str])
    turns: ReadTurns = field(default_factory=ReadTurns)
    log: RateLimitedLog = field(default_factory=RateLimitedLog)
    _waiting: dict[Connection, str | None] = field(default_factory=dict[Connection, str | None])

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def wait(self, connection: Connection, host: str | None) -> None:
        """Enter a connection that begins to wait. Where that makes too many, the oldest is cut off.

        Args:
            connection: may be entered twice, and counts as new then.
            host: the IP address that it comes from, as far as that is known.
        """
        site = _site(host)
        self._waiting.pop(connection, None)
        self._waiting[connection] = site
        neighbours = [one for one, other in self._waiting.items() if site is not None and other == site]
        if len(neighbours) > self.limits.waiting_per_address:
            neighbours[0].cut_off(TOO_MANY_OF_ONE)
        elif len(self._waiting) > self.limits.waiting:
            next(iter(self._waiting)).cut_off(TOO_MANY)

    def leave(self, connection: Connection) -> None:
        """Take out a connection that waits no more."""
        self._waiting.pop(connection, None)

    def note_cut_off(self, connection: Connection, cause: str) -> None:
        """Count a connection that was cut off, and log it the 1st, 10th, 100th … time."""
        self.leave(connection)
        self.cut_off[cause] += 1
        if str(self.cut_off[cause]).strip("0") == "1":  # an attacker must not be able to fill the log
            # Browsers open connections that they then do not need.
            level = "DEBUG" if cause == NO_REQUEST else "WARNING"
            logger.log(level, "Cut off a connection, because {}; {} so far", cause, self.cut_off[cause])


def _site(host: str | None) -> str | None:
    """Tell what shares one limit: an IPv4 address, an IPv6 network of one customer; None has no limit."""
    if host is None or is_loopback(host):
        return None
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False))
    return host
