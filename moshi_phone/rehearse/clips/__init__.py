"""The clips of a caller who reacts; ``make.sh`` makes them, ``clips.toml`` says what each is."""

from __future__ import annotations

from pathlib import Path

CLIPS = Path(__file__).parent
