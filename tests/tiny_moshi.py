"""A tiny random Moshi in the layout of Kyutai's repos: ``python -m tests.tiny_moshi DIR``.

Then ``python bot.py --engine moshi --model DIR`` runs the very code that runs the real one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from engines.moshi.random_model import write_tiny_checkpoint

if __name__ == "__main__":
    write_tiny_checkpoint(Path(sys.argv[1]))
