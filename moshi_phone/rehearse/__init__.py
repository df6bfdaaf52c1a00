"""A simulated caller, and the report on its call."""
