"""Talk with Moshi on a phone line: the packages below ``bot.py``, ``pipelines/`` and ``processors/``."""
