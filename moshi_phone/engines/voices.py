"""The voices' names, Moshi's two and PersonaPlex's, and what PersonaPlex takes by default.

Needs none of the model's libraries.
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
PERSONAPLEX_VOICE = "NATF2"  # where none is named
PERSONAPLEX_PERSONA = "You enjoy having a good conversation."  # NVIDIA's own, for a talk about anything
PERSONAPLEX_REPO = "nvidia/personaplex-7b-v1"
VOICE_SUFFIXES = (".pt", ".wav")

NAMES_PACKED = ("-q4", "-q4-8", "-q8", "-bf16")  # how a repo of packed weights ends

VOICE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_file(voice: str) -> bool:
    """Whether a voice is named by a file."""
    return voice.endswith(VOICE_SUFFIXES)


def is_personaplex_repo(repo: str) -> bool:
    """Whether a repo of the hub is known by its name to hold PersonaPlex in PyTorch's layout."""
    name = repo.lower()
    return "personaplex" in name and not name.endswith(NAMES_PACKED)


def needs_personaplex(voice: str) -> bool:
    """Whether only PersonaPlex can speak with this voice; the empty name is everybody's own."""
    return voice != "" and voice not in MOSHI_VOICES
