"""What any program needs: signals, child processes, tunnels, retries."""
