from __future__ import annotations

import hashlib
import hmac

from moshi_phone.hooks.signing import is_signed, sign

BODY, SECRET, NOW = '{"from":"Zürich"}'.encode(), "whsec", 1_800_000_000


def test_a_signature_is_what_the_documentation_says() -> None:
    mac = hmac.new(b"whsec", b"1800000000." + BODY, hashlib.sha256).hexdigest()
    assert sign(BODY, SECRET, NOW) == f"t=1800000000,v1={mac}"


def test_what_a_receiver_accepts_and_what_not() -> None:
    header = sign(BODY, SECRET, NOW)
    assert is_signed(header, BODY, SECRET, NOW + 299)
    assert not is_signed(header, BODY, SECRET, NOW + 301), "replayed"
    assert not is_signed(header, BODY + b" ", SECRET, NOW)
    assert not is_signed(header, BODY, "another", NOW)
    assert not is_signed(header.replace("t=18", "t=19"), BODY, SECRET, NOW + 100_000_000)
    for nonsense in ("", "t=1", "v1=2", "t=x,v1=y", "=,=", header + ",", "t=1,v1=ü"):
        assert not is_signed(nonsense, BODY, SECRET, NOW)
