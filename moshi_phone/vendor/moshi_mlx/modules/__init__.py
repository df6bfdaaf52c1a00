"""As in moshi_mlx, but for what is not here."""
