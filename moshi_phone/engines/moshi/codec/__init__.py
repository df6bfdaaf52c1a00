"""Mimi: encoders and decoders of calls, each in its own thread."""
