"""Options that select and configure the engine. The command line is generated from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from moshi_phone.engines.duplex import HANG_SECS
from moshi_phone.engines.remote.options import RemoteOptions
from moshi_phone.engines.voices import is_personaplex_repo, needs_personaplex

AUTO_CALLS = 0  # ``--calls auto``: a measurement at startup determines the number
AUTO = "auto"
MOSHI_PACKING = "4"
# PersonaPlex in 4 bits is reported to speak incoherently; 8 bits are reported to be sound.
PERSONAPLEX_PACKING = "8"
SPEECH, SILENCE, NONE = "speech", "silence", "none"  # greetings; anything else is words to say


@dataclass(frozen=True)
class EngineOptions:
    """Each field is a command-line option; ``metadata["help"]`` is its text in ``--help``."""

    GROUP: ClassVar = "engine"

    @property
    def listens(self) -> bool:
        """Whether the caller's words are transcribed."""
        return self.listen or bool(self.listen_model)

    @property
    def greets_in_words(self) -> bool:
        """Whether the greeting is a given text."""
        return self.greeting not in (SPEECH, SILENCE, NONE)

    @property
    def moshi_calls(self) -> int:
        """Number of calls that Moshi holds; ``AUTO_CALLS`` until it was measured."""
        return 1 if self.calls is None else self.calls

    @property
    def max_rows(self) -> int:
        """Maximum number of calls in one step of the model."""
        return self.moshi_calls if self.batch is None else min(self.batch, self.moshi_calls)

    @property
    def packing(self) -> str:
        """``--quantize`` for the selected model; a folder's content may override it."""
        named = bool(self.persona) or needs_personaplex(self.voice) or is_personaplex_repo(self.model)
        return self.packing_for(takes_persona=named)

    def packing_for(self, *, takes_persona: bool) -> str:
        """Return ``--quantize`` for PersonaPlex, which takes a persona, or for Moshi."""
        if self.quantize != AUTO:
            return self.quantize
        return PERSONAPLEX_PACKING if takes_persona else MOSHI_PACKING

    engine: str = field(
        default="auto",
        metadata={
            "group": "parts",
            "help": "Engine that answers calls: moshi (the model), parrot (repeats the caller; needs no "
            "download), remote (the servers given by --server), auto (remote if --server is "
            "given, else moshi on a Mac or an NVIDIA GPU, else parrot), or your own class, "
            "MODULE:CLASS.",
            "metavar": "[auto|moshi|parrot|remote|MODULE:CLASS]",
        },
    )
    parrot_delay: float = field(
        default=1.0,
        metadata={
            "group": "advanced",
            "help": "Seconds after which the parrot repeats the caller; 0 repeats at once.",
            "min": 0.0,
            "max": 10.0,
        },
    )
    calls: int | None = field(
        default=None,
        metadata={
            "help": "Number of calls at once; by default 1, and 64 with the parrot. auto: Moshi measures "
            "this machine's capacity at its start.",
            "min": 1,
            "words": {"auto": AUTO_CALLS},
            "metavar": "N|auto",
        },
    )
    batch: int | None = field(
        default=None,
        metadata={
            "group": "advanced",
            "help": "Maximum number of calls in one step of the model; by default all of --calls.",
            "min": 1,
        },
    )
    model: str = field(
        default="",
        metadata={
            "help": "Moshi's weights: a folder, or a repository on the Hugging Face hub. Default: "
            "Kyutai's repository for --voice and --quantize, or nvidia/personaplex-7b-v1 with a "
            "persona.",
            "metavar": "DIR|REPO",
        },
    )
    voice: str = field(
        default="",
        metadata={
            "group": "voice",
            "help": "Moshi: moshiko (male, the default) or moshika (female). PersonaPlex: a name from "
            "'voices' (default NATF2), or a .pt or .wav file.",
            "metavar": "NAME|FILE",
        },
    )
    persona: str = field(
        default="",
        metadata={
            "group": "voice",
            "help": 'The role of the bot, in words: "You are …". Uses NVIDIA\'s PersonaPlex instead of '
            "Moshi. At most 500 tokens; each takes 0.5 MB of memory and one of the 3,000 frames "
            "of context.",
            "metavar": "TEXT|@FILE",
        },
    )
    personas: Path | None = field(
        default=None,
        metadata={
            "group": "voice",
            "help": "TOML file with a persona, voice, greeting and temperature for each called or calling"
            " number, and a default.",
            "metavar": "FILE",
        },
    )
    personas_kept: int = field(
        default=4,
        metadata={
            "group": "advanced",
            "help": "Number of prepared personas to keep in memory besides the default, 90 MB or more each.",
            "min": 1,
            "max": 1000,
        },
    )
    quantize: Literal["auto", "4", "4-8", "8", "none"] = field(
        default="auto",
        metadata={
            "help": "Bits per weight: 4 (4.8 GB), 4-8 (8 in the depformer, 4 elsewhere: 5.1 GB), 8 (8.2 GB), "
            "or none for bfloat16 (15.4 GB). auto: 4 for Moshi, 8 for PersonaPlex."
        },
    )
    greeting: str = field(
        default=SPEECH,
        metadata={
            "group": "voice",
            "help": "How a call begins: speech (Moshi's own greeting), silence (as long as a greeting), "
            "none, or the words to say.",
            "metavar": "[speech|silence|none|WORDS]",
        },
    )
    greeting_frames: int = field(
        default=25,
        metadata={
            "group": "advanced",
            "help": "Length of the greeting in frames of 80 ms.",
            "min": 1,
            "max": 250,
        },
    )
    listen: bool = field(
        default=False,
        metadata={
            "help": "Transcribe the caller with a second model, Kyutai's speech-to-text: for transcripts,"
            " the dashboard and the pipeline."
        },
    )
    listen_model: str = field(
        default="",
        metadata={
            "help": "Model for --listen: a folder, or a repository on the hub. Default: "
            "kyutai/stt-1b-en_fr-mlx (English and French, 0.5 s delay).",
            "metavar": "DIR|REPO",
        },
    )
    seed: int | None = field(
        default=None,
        metadata={
            "group": "voice",
            "help": "Random seed. With a seed, greeting and sampling are the same in every run.",
            "min": 0,
        },
    )
    text_temperature: float = field(
        default=0.7,
        metadata={
            "group": "advanced",
            "help": "Sampling temperature of Moshi's words; 0 is greedy.",
            "min": 0.0,
            "max": 2.0,
        },
    )
    text_top_k: int = field(
        default=25,
        metadata={
            "group": "advanced",
            "help": "Sample each text token from the k most likely; 0 for all.",
            "min": 0,
        },
    )
    audio_temperature: float = field(
        default=0.8,
        metadata={
            "group": "advanced",
            "help": "Sampling temperature of Moshi's voice; 0 is greedy.",
            "min": 0.0,
            "max": 2.0,
        },
    )
    audio_top_k: int = field(
        default=250,
        metadata={
            "group": "advanced",
            "help": "Sample each audio token from the k most likely; 0 for all.",
            "min": 0,
        },
    )
    hang_secs: float = field(
        default=HANG_SECS,
        metadata={
            "group": "advanced",
            "help": "Seconds without output after which the engine counts as hung and its call is ended.",
            "min": 0.01,
        },
    )
    remote: RemoteOptions = field(default_factory=RemoteOptions)
