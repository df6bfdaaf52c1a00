"""Stored data of calls: recordings, transcripts, metrics, and the history."""
