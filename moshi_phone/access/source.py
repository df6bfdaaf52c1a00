"""The source of a request: its address, and whether that is this machine."""

from __future__ import annotations

import ipaddress
import re

from starlette.requests import HTTPConnection


def is_loopback(host: str) -> bool:
    """Return whether an address, or ``localhost``, belongs to this machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # A dual-stack socket reports 127.0.0.1 as ::ffff:127.0.0.1, which Python 3.11 does not count as loopback.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9.-]+))(?::[0-9]{1,5})?", re.IGNORECASE)
_IPV6_SITE_BITS = 64  # one customer usually has a whole /64


def host_of(request: HTTPConnection) -> str:
    """Return the host named in the request, or "" if there is none, several, or an invalid one.

    Not ``request.url.hostname``: for an unreadable name, it falls back to our own address.
    """
    given = request.headers.getlist("host")
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    return (found["v6"] or found["name"]).lower() if found else ""


def source_of(request: HTTPConnection) -> str:
    """Return the source of a request: its address, or the /64 of an IPv6 address.

    For a proxy on this machine it is the last entry of ``X-Forwarded-For``, which the proxy itself added.
    All other headers may come from the client.
    """
    peer = request.client.host if request.client else ""
    if is_loopback(peer) and (forwarded := request.headers.getlist("x-forwarded-for")):
        # The last header's last name: a client can forge all names before it.
        return _site(forwarded[-1].rpartition(",")[2].strip()) or peer
    return _site(peer) or "an unknown address"


def _site(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address.packed, _IPV6_SITE_BITS), strict=False))
