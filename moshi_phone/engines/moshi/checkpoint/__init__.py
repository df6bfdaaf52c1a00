"""Files of weights: find, fetch, check, convert, load."""
