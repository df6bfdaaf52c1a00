"""Engines that answer calls: the interface, the parrot, Moshi, and remote servers."""
