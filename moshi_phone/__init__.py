"""Talk with Moshi on a phone line: all that ``bot.py``, ``pipelines/`` and ``processors/`` stand on."""
