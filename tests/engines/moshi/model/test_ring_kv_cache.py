from __future__ import annotations

import mlx.core as mx
import pytest

from moshi_phone.engines.moshi.model.ring_kv_cache import ListKVCache, RingKVCache


def position(number: int) -> mx.array:
    return mx.full((1, 2, 1, 4), number)


@pytest.mark.parametrize("context", [1, 2, 7])
def test_holds_exactly_the_last_context_positions(context: int) -> None:
    ring = RingKVCache(context)
    for number in range(3 * context + 1):
        keys, values = ring.update_and_fetch(position(number), position(-number))
        expected = list(range(max(0, number + 1 - context), number + 1))
        assert sorted(keys[0, 1, :, 3].tolist()) == expected  # type: ignore[type-var, arg-type]
        assert sorted(values[0, 0, :, 0].tolist()) == sorted(-number for number in expected)  # type: ignore[type-var, arg-type]
        assert ring.offset == number + 1


def test_a_list_holds_everything_in_order() -> None:
    kept = ListKVCache()
    for number in range(5):
        keys, values = kept.update_and_fetch(position(number), position(number))
    assert keys[0, 0, :, 0].tolist() == values[0, 0, :, 0].tolist() == [0, 1, 2, 3, 4]
