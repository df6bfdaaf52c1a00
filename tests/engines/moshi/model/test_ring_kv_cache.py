from __future__ import annotations

import mlx.core as mx
import pytest

from moshi_phone.engines.moshi.model.ring_kv_cache import PromptKVCache, RingKVCache


def position(number: int) -> mx.array:
    return mx.full((1, 2, 1, 4), number)


def written(number: int) -> mx.array:
    """Keys with this value, and their negative as values, as a layer writes them: two heads each."""
    return mx.concatenate([position(number), position(-number)], axis=1)


@pytest.mark.parametrize("context", [1, 2, 7])
def test_holds_exactly_the_last_context_positions(context: int) -> None:
    ring = RingKVCache(context)
    for number in range(3 * context + 1):
        keys, values = ring.write(written(number))
        ring.advance()
        expected = list(range(max(0, number + 1 - context), number + 1))
        assert sorted(keys[0, 1, :, 3].tolist()) == expected  # type: ignore[type-var, arg-type]
        assert sorted(values[0, 0, :, 0].tolist()) == sorted(-number for number in expected)  # type: ignore[type-var, arg-type]
        assert ring.offset == number + 1


@pytest.mark.parametrize("settled", [False, True], ids=["before the evaluation", "after it"])
def test_an_uncommitted_position_is_overwritten(settled: bool) -> None:
    ring = RingKVCache(2)
    for number in (1, 2, 3):
        ring.write(written(number))
        ring.advance()
    keys, _ = ring.write(written(9))
    if settled:
        ring.commit()
        mx.eval(keys)
    else:
        assert sorted(keys[0, 0, :, 0].tolist()) == [3, 9]  # type: ignore[type-var, arg-type]
    ring.undo()
    keys, values = ring.write(written(4))
    ring.advance()
    assert sorted(keys[0, 0, :, 0].tolist()) == [3, 4]  # type: ignore[type-var, arg-type]
    assert sorted(values[0, 0, :, 0].tolist()) == [-4, -3]  # type: ignore[type-var, arg-type]
    assert ring.offset == 4


def test_writing_does_not_copy_the_ring() -> None:
    """A copy would move half a gigabyte per call and step."""
    ring = RingKVCache(100_000)
    ring.write(written(0))
    ring.commit()
    mx.eval(ring.state)
    mx.reset_peak_memory()
    before_bytes = mx.get_active_memory()
    ring.write(written(1))
    ring.commit()
    mx.eval(ring._state)
    assert mx.get_peak_memory() - before_bytes < 1000


def test_a_prompt_s_cache_contains_everything_in_order() -> None:
    kept = PromptKVCache(5)
    for number in range(5):
        keys, values = kept.update_and_fetch(position(number), position(number))
        assert keys.shape[2] == number + 1
    assert keys[0, 0, :, 0].tolist() == values[0, 0, :, 0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="expected at most 5 positions, got 6"):
        kept.update_and_fetch(position(5), position(5))
