from __future__ import annotations

import asyncio
from dataclasses import dataclass

from moshi_phone.server.net.read_turns import TURN_S, ReadTurns


@dataclass(eq=False)
class Peer:
    """A connection with several chunks, each of which takes some time to parse."""

    pieces: int
    piece_s: float
    turns: list[int]
    clock: Clock

    def parse_piece(self) -> bool:
        self.pieces -= 1
        self.clock.now_s += self.piece_s
        self.turns.append(self.clock.turn)
        return self.pieces > 0


@dataclass
class Clock:
    """A clock that advances with work, and counts the loop's iterations."""

    now_s: float = 0.0
    turn: int = 0

    def __call__(self) -> float:
        return self.now_s

    async def count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


async def parsed(*pieces_s: tuple[int, float]) -> list[list[int]]:
    """Return for each peer, given as chunks and their time, the iteration in which each chunk was parsed."""
    clock = Clock()
    turns = ReadTurns(clock)
    counting = asyncio.create_task(clock.count())
    peers = [Peer(pieces, piece_s, [], clock) for pieces, piece_s in pieces_s]
    for peer in peers:
        turns.ask(peer)
        turns.ask(peer)  # asking twice is no second turn
    async with asyncio.timeout(10):
        while any(peer.pieces for peer in peers):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
    counting.cancel()
    return [peer.turns for peer in peers]


async def test_fast_chunks_share_an_iteration() -> None:
    [first, second] = await parsed((3, TURN_S / 100), (3, TURN_S / 100))
    assert len({*first, *second}) == 1


async def test_an_iteration_takes_at_most_its_limit_and_one_chunk() -> None:
    many = await parsed(*[(5, TURN_S * 0.6)] * 20)
    in_turn = [turn for peer in many for turn in peer]
    assert len(in_turn) == 100
    assert max(in_turn.count(turn) for turn in in_turn) == 2


async def test_every_connection_is_read_before_one_is_read_twice() -> None:
    [long, short] = await parsed((20, TURN_S), (1, TURN_S))
    assert short[0] <= long[1]
    assert long == sorted(set(long))  # one a turn, with others' turns of the loop in between


async def test_a_lost_connection_is_not_read() -> None:
    clock = Clock()
    turns = ReadTurns(clock)
    lost, other = Peer(1, 0, [], clock), Peer(1, 0, [], clock)
    turns.ask(lost)
    turns.ask(other)
    turns.forget(lost)
    turns.forget(lost)
    await asyncio.sleep(0.01)
    assert (lost.pieces, other.pieces) == (1, 0)
