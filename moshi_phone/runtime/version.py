"""The program's version, as pyproject.toml and CHANGELOG.md have it."""

VERSION = "0.1.0"
