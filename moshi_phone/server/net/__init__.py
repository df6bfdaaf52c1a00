"""Sockets and protocols with limits: what strangers may send, and how fast."""
