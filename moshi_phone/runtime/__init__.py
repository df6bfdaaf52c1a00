"""General-purpose parts: signals, child processes, tunnels, retries."""
