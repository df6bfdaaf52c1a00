"""A call of any length takes a bounded memory, measured in a process of its own.

CI measures three minutes of a call; ``MOSHI_TEST_FRAMES=8000 uv run pytest -m slow`` of this file ten.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from moshi_phone.engines.moshi.codec.call_codecs import CallCodecs
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS
from moshi_phone.engines.moshi.codec.stream_codecs import Encoder
from moshi_phone.engines.moshi.model.token_history import Tokens
from tests.engines.moshi.codec.test_codec import noise

MB = 1_000_000
FRAMES = int(os.environ.get("MOSHI_TEST_FRAMES", "2600"))
EARLY_FRAMES = 3400 if FRAMES > 5000 else 1600  # a codec is exchanged every 1,000 frames
EVERY_FRAMES = 100


@pytest.mark.slow
def test_a_call_takes_no_more_memory_with_each_codec_that_takes_over(mimi_file: Path) -> None:
    script = [sys.executable, "-m", "tests.engines.moshi.codec.test_call_memory", str(mimi_file)]
    run = subprocess.run(script, capture_output=True, text=True, check=True, timeout=3600)  # noqa: S603
    held_mb = {int(frame): float(held) for frame, held in map(str.split, run.stdout.splitlines())}
    before, early = held_mb[600], max(held_mb[frame] for frame in held_mb if 600 <= frame <= EARLY_FRAMES)
    late = max(held_mb[frame] for frame in held_mb if frame > EARLY_FRAMES)
    assert early - before < 150
    assert late < early + 30, "there is a trend"


def main(mimi: Path) -> None:
    """Feed a call as fast as it takes frames, and print the resident memory now and then."""
    codecs = CallCodecs.for_calls(mimi, 1)
    codecs.fill()
    encoder, decoder = codecs.take()
    heard: queue.Queue[Tokens] = queue.Queue(5)
    threading.Thread(target=_encode, args=(encoder, heard), daemon=True).start()
    for frame in range(1, FRAMES + 1):
        decoder.decode(heard.get()[:CODEBOOKS])
        if frame % EVERY_FRAMES == 0:
            print(frame, psutil.Process().memory_info().rss / MB, flush=True)  # noqa: T201
    os._exit(0)  # a codec's thread in the midst of its work aborts an interpreter that ends


def _encode(encoder: Encoder, heard: queue.Queue[Tokens]) -> None:
    for number in range(FRAMES):
        heard.put(encoder.encode(noise(number)))
    encoder.release()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
