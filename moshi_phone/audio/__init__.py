"""Sound and playout timing, as pure logic: neither pipecat nor I/O."""
