"""The transport: what it refuses, and when."""

from __future__ import annotations

from typing import Any

import pytest
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.base_transport import TransportParams

from processors.twilio import TwilioSerializer, TwilioTransport


class Socket:
    """An accepted WebSocket of another server."""


async def transport() -> TwilioTransport:
    return TwilioTransport(Socket(), TwilioSerializer("MZ1"))  # type: ignore[arg-type]


async def test_another_serializer_is_refused_with_the_remedy() -> None:
    other: Any = TwilioFrameSerializer("MZ1", params=TwilioFrameSerializer.InputParams(auto_hang_up=False))
    with pytest.raises(TypeError, match="FastAPIWebsocketTransport"):
        TwilioTransport(Socket(), other)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["input", "output"])
async def test_parameters_are_fixed_once_an_end_is_used(end: str) -> None:
    line = await transport()
    before = getattr(line, end)()
    assert getattr(line, end)() is before
    with pytest.raises(RuntimeError, match="before input"):
        line.configure(TransportParams())


async def test_parameters_can_be_chosen_before() -> None:
    line = await transport()
    line.configure(TransportParams(audio_out_volume=0.5))
    assert line.output()._params.audio_out_volume == 0.5


async def test_a_stream_is_replaced_until_it_is_over() -> None:
    line, other = await transport(), Socket()
    before = line.replace(other, "MZ2")  # type: ignore[arg-type]
    assert isinstance(before, Socket)
    assert not line.is_lost
    line.lose()
    assert line.is_lost
    assert line.replace(Socket(), "MZ3") is None
    line.input()._stream.is_over = True
    assert line.is_over
    with pytest.raises(RuntimeError, match="over"):
        line.replace(Socket(), "MZ4")
