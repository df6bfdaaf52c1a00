"""Part of moshi_mlx 0.3.0, unchanged; ../README.md says why it is here."""
