"""Moshi on the phone: the front door.

``python bot.py`` answers calls; ``python bot.py --help`` lists what else it does.
"""

from __future__ import annotations

from commands.main import main

if __name__ == "__main__":
    main()
