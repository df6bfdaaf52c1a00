from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from moshi_phone.rehearse import comparison_picture
from moshi_phone.rehearse.comparison_picture import draw_comparison
from moshi_phone.rehearse.rehearsal import RehearsalResult
from tests.rehearse import simulated
from tests.rehearse.test_report import rehearsed


def bad_shade_in(path: Path, calls: list[RehearsalResult]) -> int:
    """Return the number of pixels that are nearly pure red."""
    draw_comparison(path, calls, "parrot")
    red, green, blue = np.asarray(Image.open(path).convert("RGB"), int).transpose(2, 0, 1)
    return int(((red > 180) & (green < 90) & (blue < 90)).sum())


def test_a_call_that_fails_is_red_in_the_picture_and_in_the_title(tmp_path: Path) -> None:
    good, bad = rehearsed(), rehearsed(simulated.slow)
    assert good.held
    assert not bad.held
    assert bad_shade_in(tmp_path / "bad.png", [good, bad]) > bad_shade_in(tmp_path / "good.png", [good] * 2)
    assert comparison_picture._title([good, good]) == "2 calls, every point holds in each"
    assert comparison_picture._title([good, bad]).startswith("1 of 2 calls hold. Failed: ")


def test_calls_that_failed_to_connect_can_be_drawn(tmp_path: Path) -> None:
    draw_comparison(tmp_path / "none.png", [rehearsed(lambda _: [])] * 30)
    assert (tmp_path / "none.png").read_bytes().startswith(b"\x89PNG")
