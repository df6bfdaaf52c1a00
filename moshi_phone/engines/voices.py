"""Names of the voices of Moshi and PersonaPlex, and PersonaPlex's defaults.

Imports none of the model's libraries.
"""

from __future__ import annotations

import re

MOSHI_VOICES = ("moshiko", "moshika")
PERSONAPLEX_VOICES = (
    *(f"NATF{number}" for number in range(4)),
    *(f"NATM{number}" for number in range(4)),
    *(f"VARF{number}" for number in range(5)),
    *(f"VARM{number}" for number in range(5)),
)
PERSONAPLEX_VOICE = "NATF2"  # if none is given
PERSONAPLEX_PERSONA = "You enjoy having a good conversation."  # NVIDIA's own, for small talk
PERSONAPLEX_REPO = "nvidia/personaplex-7b-v1"
VOICE_SUFFIXES = (".pt", ".wav")

NAMES_PACKED = ("-q4", "-q4-8", "-q8", "-bf16")  # how a repo of packed weights ends

VOICE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_file(voice: str) -> bool:
    """Whether a voice is named by a file."""
    return voice.endswith(VOICE_SUFFIXES)


def is_personaplex_repo(repo: str) -> bool:
    """Whether a repository's name says that it has PersonaPlex in PyTorch's layout."""
    name = repo.lower()
    return "personaplex" in name and not name.endswith(NAMES_PACKED)


def needs_personaplex(voice: str) -> bool:
    """Whether only PersonaPlex has this voice; the empty name stands for any model's own."""
    return voice != "" and voice not in MOSHI_VOICES
