"""The checks of ``bot.py doctor``."""
