"""The life of one call, from its webhook to its summary."""
