"""TLS with pinned certificates: a given certificate is trusted under any host name.

Kyutai's Rust backend creates a certificate for ``localhost``, but is reached under other names. A file with
that very certificate is sufficient. Certificates signed by an authority in the file must have the host's
name.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any

HOSTNAME_MISMATCH = 62  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH


class PinningContext(ssl.SSLContext):
    """Verifies certificates against a file (PEM): the server's own, or those of authorities.

    Attributes:
        pinned: the file's certificates, as DER.
    """

    pinned: frozenset[bytes]

    @classmethod
    def from_file(cls, path: Path) -> PinningContext:
        """Create a context.

        Raises:
            OSError, ssl.SSLError: when certificates cannot be read from the file.
        """
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # done below, after the handshake
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a pinned certificate may end the chain, too
        context.load_verify_locations(cafile=str(path))
        context.pinned = frozenset(_ders(path.read_text()))
        # asyncio and uvloop both use this class for TLS.
        context.sslobject_class = _CheckedObject
        return context


class _CheckedObject(ssl.SSLObject):
    """Aborts the handshake on a wrong host name, before any data is sent."""

    def do_handshake(self) -> None:
        """See ``ssl.SSLObject``."""
        super().do_handshake()
        context = self.context
        if isinstance(context, PinningContext) and self.getpeercert(binary_form=True) in context.pinned:
            return
        host = self.server_hostname or ""
        if not names(self.getpeercert() or {}, host):
            error = ssl.SSLCertVerificationError(f"certificate is not valid for {host!r}")
            error.verify_code, error.verify_message = HOSTNAME_MISMATCH, f"it is not valid for {host}"
            raise error


def names(certificate: Any, host: str) -> bool:
    """Return whether a certificate, in the form of ``getpeercert``, is for a host name or an IP address.

    A wildcard matches the first label only (RFC 6125).
    """
    alternatives = certificate.get("subjectAltName", ())
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        wanted = host.lower().rstrip(".")
        _, _, parent = wanted.partition(".")
        spelled = {value.lower() for kind, value in alternatives if kind == "DNS"}
        return bool(wanted) and (wanted in spelled or (parent.count(".") >= 1 and f"*.{parent}" in spelled))
    addresses = [value.strip() for kind, value in alternatives if kind == "IP Address"]
    return any(ipaddress.ip_address(value) == address for value in addresses)


def _ders(pem: str) -> list[bytes]:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    bodies = (part.partition(end)[0] for part in pem.split(begin)[1:])
    return [ssl.PEM_cert_to_DER_cert(f"{begin}{body}{end}") for body in bodies]
