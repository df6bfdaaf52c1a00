"""checkpoint/config_file.py: one check for Moshi's config and the listening model's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moshi_phone.engines.moshi.checkpoint.checkpoint import read_manifest
from moshi_phone.engines.moshi.checkpoint.config_file import read_config
from moshi_phone.engines.moshi.checkpoint.model_files import Unfit
from moshi_phone.engines.moshi.stt.checkpoint import _sizes
from tests.support.tiny_config import tiny_config


def listening_sizes(path: Path) -> None:
    _sizes(path, read_config(path))


@pytest.fixture(params=[read_manifest, listening_sizes], ids=["Moshi", "listening"])
def read(request: pytest.FixtureRequest) -> Callable[[Path], Any]:
    reader: Callable[[Path], Any] = request.param
    return reader


@pytest.mark.parametrize(
    ("text", "words", "is_damaged"),
    [
        ("{", "it cannot be read", True),
        ("[1]", "it cannot be read (expected an object)", False),
        (json.dumps(tiny_config() | {"dim": None}), "it cannot be read", False),
        (
            json.dumps({name: value for name, value in tiny_config().items() if name != "dim"}),
            "'dim' is missing",
            False,
        ),
        (json.dumps(tiny_config() | {"lora": True}), "LoRA", False),
    ],
)
def test_only_invalid_json_counts_as_damaged(
    tmp_path: Path, read: Callable[[Path], Any], text: str, words: str, *, is_damaged: bool
) -> None:
    """Another model's file used to be fetched again for Moshi, but not for the listening model."""
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(Unfit) as caught:
        read(path)
    assert words in str(caught.value)
    assert (caught.value.path, caught.value.is_damaged) == (path, is_damaged)
