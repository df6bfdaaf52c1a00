"""The server: sockets (net), the life of a call (calls), routes (web)."""
