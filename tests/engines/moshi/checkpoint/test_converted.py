from __future__ import annotations

import os
from pathlib import Path

import mlx.core as mx
import pytest

from moshi_phone.engines.moshi.checkpoint.converted import (
    cache_folder,
    drop_if_older,
    is_for_pytorch,
    is_personaplex,
    published_for_pytorch,
)


@pytest.mark.parametrize(
    ("repo", "expected"),
    [
        ("nvidia/personaplex-7b-v1", True),
        ("kyutai/PersonaPlex-rl-seamless", True),
        ("somebody/personaplex-7b-v1-q4", False),
        ("kyutai/moshiko-mlx-q4", False),
    ],
)
def test_which_repos_are_known_to_need_converting(repo: str, expected: bool) -> None:
    assert published_for_pytorch(repo) is expected


def test_what_we_make_lies_beside_the_hub_s_cache_by_repo_and_commit() -> None:
    folder = cache_folder("nvidia/personaplex-7b-v1", "abc")
    assert folder.parts[-3:] == ("moshi-phone", "nvidia--personaplex-7b-v1", "abc")


def test_a_conversion_of_an_earlier_source_is_removed(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for path, at_s in ((source, 100), (target, 200)):
        path.write_bytes(b"")
        os.utime(path, (at_s, at_s))
    drop_if_older(target, source)
    assert target.exists()
    os.utime(source, (300, 300))
    drop_if_older(target, source)
    assert not target.exists()


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    theirs, ours, broken = (tmp_path / name for name in ("theirs", "ours", "broken"))
    names = ["out_norm.alpha", *(f"linears.{index}.weight" for index in range(16))]
    mx.save_safetensors(str(theirs), {name: mx.zeros((1,)) for name in names})
    mx.save_safetensors(str(ours), {"out_norm.weight": mx.zeros((1,))}, {"model_type": "personaplex"})
    theirs, ours = (Path(f"{path}.safetensors") for path in (theirs, ours))
    broken.write_bytes(b"\xff" * 100)
    assert [is_personaplex(path) for path in (theirs, ours, broken)] == [True, True, False]
    assert [is_for_pytorch(path) for path in (theirs, ours, broken)] == [True, False, False]
