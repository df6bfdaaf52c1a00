"""What answers a call: the interface, the parrot, Moshi, servers elsewhere."""
