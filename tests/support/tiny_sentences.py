"""Tiny models whose words form sentences, so that a transcript of a few seconds has many lines."""

from __future__ import annotations

import json
from pathlib import Path

from moshi_phone.commands.random_model import write_tiny_tokenizer

_ENDING = 6  # one in this many pieces ends a sentence: lines of one or two seconds


def with_sentences(model: Path, folder: Path) -> Path:
    """Link a checkpoint's files, except for its tokenizer; return the folder.

    Args:
        model: a checkpoint with ``config.json``.
        folder: made.
    """
    folder.mkdir()
    config = json.loads((model / "config.json").read_text())
    for path in model.iterdir():
        if path.name != config["tokenizer_name"]:
            (folder / path.name).symlink_to(path)
    pieces = config["text_card"]
    ends = [f"{consonant}{vowel}." for consonant in "bdfgklmn" for vowel in "aeiou"]
    write_tiny_tokenizer(folder / config["tokenizer_name"], pieces, ends[: pieces // _ENDING])
    return folder
