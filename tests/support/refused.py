"""A token that is refused, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from moshi_phone.access.refusal import RefusalCause
from moshi_phone.access.tokens import TokenRefused


@contextmanager
def refused(cause: RefusalCause, match: str | None = None) -> Iterator[None]:
    """Expect a ``TokenRefused`` of this cause."""
    with pytest.raises(TokenRefused, match=match) as raised:
        yield
    assert raised.value.cause is cause
