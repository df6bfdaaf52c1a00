"""What is kept of a call: recordings, transcripts, metrics."""
