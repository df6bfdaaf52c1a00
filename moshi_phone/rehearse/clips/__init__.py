"""The clips of a caller who reacts: a folder for each voice, with a ``clips.toml``; by ``make.sh``."""

from __future__ import annotations

from pathlib import Path

CLIPS = Path(__file__).parent
