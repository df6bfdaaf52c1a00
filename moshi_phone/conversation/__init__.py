"""Turn-taking of a call: who spoke when, and what follows from it."""
