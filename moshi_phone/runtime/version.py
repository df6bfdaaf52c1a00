"""The program's version, equal to that in pyproject.toml and CHANGELOG.md."""

VERSION = "0.1.0"
