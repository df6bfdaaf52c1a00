"""The language model: one step, its sampling, its cache, forced text."""
