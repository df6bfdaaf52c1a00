"""Rehearsals: a simulated caller, measurements of its call, and a report."""
