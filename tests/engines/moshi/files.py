"""Moshi's files for tests that read and never run them, and the hub's client with a local hub."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import huggingface_hub.constants
import pytest

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi import find_files as weights
from moshi_phone.engines.moshi.checkpoint.checkpoint import Checkpoint
from moshi_phone.engines.moshi.checkpoint.mimi_layout import mimi_shapes
from moshi_phone.engines.options import EngineOptions

WEIGHTS_NAME = "model.q4.safetensors"


def use_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the endpoint as ``HF_ENDPOINT`` does when the hub's client is imported."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def find(model: Path | str, *, repair: bool = False) -> Checkpoint:
    # In 4 bits, whose groups of 32 fit the tiny models' sizes.
    return weights.find(EngineOptions(model=str(model), quantize="4"), lambda _: None, repair=repair)


def complaint(model: Path | str) -> str:
    with pytest.raises(EngineUnavailable) as caught:
        find(model)
    text = str(caught.value)
    assert "\n" not in text
    return text


def write_hollow_mimi(path: Path) -> Path:
    """Write a Mimi of the right names and shapes: a sparse file of zeros."""
    header: dict[str, object] = {}
    end = 0
    for name, shape in mimi_shapes(8).items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + end)
    return path
