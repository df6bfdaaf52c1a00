"""A call of any length needs bounded memory, measured in a separate process.

CI measures two minutes of a call whose codecs are exchanged twice as often as usual;
``MOSHI_TEST_FRAMES=8000 uv run pytest -m cpu_bound`` of this file measures ten minutes of a usual one. Codecs
get five frames at once, which takes half the time and as much memory for each frame.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from moshi_phone.engines.moshi.codec.call_codecs import CallCodecs
from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.codec.stream_codecs import Decoder, Encoder
from tests.engines.moshi.codec.test_codec import noise, tokens
from tests.support.waiting import wait_until

MB = 1_000_000
FRAMES = int(os.environ.get("MOSHI_TEST_FRAMES", "1500"))
IS_LONG = FRAMES > 5000
EXCHANGED_FRAMES = 1000 if IS_LONG else 500  # a codec's age when another one takes over
EARLY_FRAMES = 3400 if IS_LONG else 800  # from here on each has been exchanged
EVERY_FRAMES = 100
AT_ONCE = 5  # as a spare codec gets them


@pytest.mark.cpu_bound
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_codec_handovers(mimi_file: Path) -> None:
    script = [sys.executable, "-m", "tests.engines.moshi.codec.test_call_memory", str(mimi_file)]
    run = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    held_mb = {int(frame): float(held) for frame, held in map(str.split, run.stdout.splitlines())}
    before, early = held_mb[300], max(held_mb[frame] for frame in held_mb if 300 <= frame <= EARLY_FRAMES)
    late = max(held_mb[frame] for frame in held_mb if frame > EARLY_FRAMES)
    assert early - before < 150
    assert late < early + 55, "there is a trend"  # without an exchange 91 MB in CI's 700 frames, with it 22


def main(mimi: Path) -> None:
    """Feed a call as fast as it accepts frames, and print the resident memory periodically."""
    codecs = CallCodecs.for_calls(mimi, 1)
    codecs.encoders.handover_frames = EXCHANGED_FRAMES  # and the decoders', in the same pool
    codecs.fill()
    encoder, decoder = codecs.take()
    several_at_once(encoder, Mimi.prime_encoder)
    several_at_once(decoder, Mimi.prime_decoder)
    for begin in range(0, FRAMES, AT_ONCE):
        numbers = range(begin, begin + AT_ONCE)
        advance(encoder, [noise(number) for number in numbers])
        advance(decoder, [tokens(number) for number in numbers])
        if (begin + AT_ONCE) % EVERY_FRAMES == 0:
            print(begin + AT_ONCE, psutil.Process().memory_info().rss / MB, flush=True)  # noqa: T201
    os._exit(0)  # a codec's thread in the midst of its work aborts an interpreter that ends


def several_at_once(codec: Encoder | Decoder, step: Callable[[Mimi, Sequence[Any]], object]) -> None:
    """Replace each frame of a codec by a list of ``AT_ONCE`` frames."""
    some: Any = codec
    some._step = step
    some._prime = lambda mimi, lists: [step(mimi, frames) for frames in lists]
    some._recent = deque(maxlen=some._recent.maxlen // AT_ONCE)


def advance(codec: Encoder | Decoder, frames: list[Any]) -> None:
    """Give a codec its next frames; wait for a spare, which would load in time at a call's pace."""
    codec._advance(frames)  # type: ignore[arg-type]
    if (handover := codec._handover) is not None:
        wait_until(lambda: handover._is_level, within_secs=600)  # of little CPU on a busy machine


if __name__ == "__main__":
    main(Path(sys.argv[1]))
