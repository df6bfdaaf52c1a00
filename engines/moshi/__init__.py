"""Kyutai's Moshi: the model from ``moshi_mlx``, the codec from ``rustymimi``, one session a call."""
