"""What is this machine, and nobody else."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Tell whether an address, or ``localhost``, is this machine's own."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # ::ffff:127.0.0.1 is how a socket for both families tells of 127.0.0.1; Python 3.11 does not see that.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
