"""Moshi and PersonaPlex in this process, on MLX."""
