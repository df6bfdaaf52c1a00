"""Mimi: encoders and decoders for calls, each in a thread of its own."""
