"""Code of others, unchanged, where no dependency can be declared on it (README.md says why)."""
