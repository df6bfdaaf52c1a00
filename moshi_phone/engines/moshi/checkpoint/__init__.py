"""Weight files: find, fetch, check, convert, load."""
