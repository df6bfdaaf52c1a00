"""TLS that trusts a certificate which was named itself, whatever name is in it.

Kyutai's Rust backend makes a certificate for ``localhost``, and is reached under other names. A file with
that very certificate says enough; of all others, signed by an authority in the file, the name must fit.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any

HOSTNAME_MISMATCH = 62  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH


class PinningContext(ssl.SSLContext):
    """Checks certificates against those of a file (PEM): the server's own, or authorities'.

    Attributes:
        pinned: the file's certificates, as DER.
    """

    pinned: frozenset[bytes]

    @classmethod
    def from_file(cls, path: Path) -> PinningContext:
        """Make one.

        Raises:
            OSError, ssl.SSLError: when certificates cannot be read from the file.
        """
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # done below, where the certificate is known
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a server's own ends the chain, too
        context.load_verify_locations(cafile=str(path))
        context.pinned = frozenset(_ders(path.read_text()))
        # asyncio and uvloop both speak TLS through this class.
        context.sslobject_class = _CheckedObject
        return context


class _CheckedObject(ssl.SSLObject):
    """Ends the handshake, before anything is sent, where the name does not fit."""

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
    """Whether a certificate, as ``getpeercert`` gives it, is for a host: a name, or an IP address.

    A wildcard stands for the first label alone, as RFC 6125 has it.
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
