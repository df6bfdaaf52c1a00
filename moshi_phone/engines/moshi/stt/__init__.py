"""The caller's words: Kyutai's speech-to-text on Mimi's tokens."""
