"""Moshi servers elsewhere, over their WebSocket protocol."""
