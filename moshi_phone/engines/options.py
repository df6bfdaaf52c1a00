"""Which engine answers, and how it is set. The command line is made from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from moshi_phone.engines.duplex import HANG_SECS
from moshi_phone.engines.remote.options import RemoteOptions

SPEECH, SILENCE, NONE = "speech", "silence", "none"  # greetings; anything else is words to say


@dataclass(frozen=True)
class EngineOptions:
    """Every field is an option of the command line: ``metadata["help"]`` is what ``--help`` says of it."""

    GROUP: ClassVar = "engine"

    @property
    def listens(self) -> bool:
        """Whether the caller's words are listened for."""
        return self.listen or bool(self.listen_model)

    @property
    def greets_in_words(self) -> bool:
        """Whether somebody chose the words that a call opens with."""
        return self.greeting not in (SPEECH, SILENCE, NONE)

    engine: str = field(
        default="auto",
        metadata={
            "help": "What answers: moshi (the model), parrot (repeats the caller, needs nothing), remote "
            "(the servers that --server names), auto (servers where some are named, else moshi where there "
            "is an accelerator, else the parrot), or a class of your own, MODULE:CLASS.",
            "metavar": "[auto|moshi|parrot|remote|MODULE:CLASS]",
        },
    )
    parrot_delay: float = field(
        default=1.0,
        metadata={
            "group": "tuning",
            "help": "Seconds after which the parrot repeats the caller; 0 makes it a mirror.",
            "min": 0.0,
            "max": 10.0,
        },
    )
    calls: int = field(
        default=1, metadata={"help": "How many calls Moshi holds at once (the parrot: 64).", "min": 1}
    )
    model: str = field(
        default="",
        metadata={
            "help": "Moshi's weights: a folder, or a repo of the Hugging Face hub; by default the repo of "
            "Kyutai's that --voice and --quantize name, or nvidia/personaplex-7b-v1 for a persona.",
            "metavar": "DIR|REPO",
        },
    )
    voice: str = field(
        default="",
        metadata={
            "group": "voice",
            "help": "Moshi's moshiko (male, the default) or moshika (female); one of PersonaPlex's "
            "(its default is NATF2; 'voices' lists them); or a file: .pt, .wav.",
            "metavar": "NAME|FILE",
        },
    )
    persona: str = field(
        default="",
        metadata={
            "group": "voice",
            "help": "Who answers, in words: \"You are …\". Takes NVIDIA's PersonaPlex in Moshi's place. "
            "At most 500 tokens of text; each takes half a megabyte, and one of the 3,000 frames that "
            "it remembers.",
            "metavar": "TEXT|@FILE",
        },
    )
    personas: Path | None = field(
        default=None,
        metadata={
            "group": "voice",
            "help": "A TOML file: a default, and sections by the number that was called or that calls, with "
            "persona, voice, greeting and temperature.",
            "metavar": "FILE",
        },
    )
    personas_kept: int = field(
        default=4,
        metadata={
            "group": "tuning",
            "help": "How many personas are kept ready beside the default, 90 MB each or more.",
            "min": 1,
            "max": 1000,
        },
    )
    quantize: Literal["4", "8", "none"] = field(
        default="4",
        metadata={"help": "Bits to a weight: 4 (4.8 GB), 8 (8.2 GB), or none for bfloat16 (15.4 GB)."},
    )
    greeting: str = field(
        default=SPEECH,
        metadata={
            "group": "voice",
            "help": "How a call opens: with speech of Moshi's own (speech; PersonaPlex begins by its "
            "persona), with silence for as long (silence), with nothing prepared (none), or with "
            "these words.",
            "metavar": "[speech|silence|none|WORDS]",
        },
    )
    greeting_frames: int = field(
        default=25,
        metadata={
            "group": "voice",
            "help": "How long the greeting is, in frames of 80 ms.",
            "min": 1,
            "max": 250,
        },
    )
    listen: bool = field(
        default=False,
        metadata={
            "help": "Listen for the caller's words with a second model, Kyutai's speech to text: they are "
            "in transcripts, on the page, and in the pipeline."
        },
    )
    listen_model: str = field(
        default="",
        metadata={
            "help": "The model that listens: a folder, or a repo of the hub; by default "
            "kyutai/stt-1b-en_fr-mlx (English and French, half a second late).",
            "metavar": "DIR|REPO",
        },
    )
    seed: int | None = field(
        default=None,
        metadata={
            "group": "voice",
            "help": "The random seed: with one, the greeting and what each call draws are the same every "
            "time; by default they differ.",
            "min": 0,
        },
    )
    text_temperature: float = field(
        default=0.7,
        metadata={
            "group": "tuning",
            "help": "Temperature by which Moshi's words are drawn; 0 always takes the likeliest.",
            "min": 0.0,
            "max": 2.0,
        },
    )
    text_top_k: int = field(
        default=25,
        metadata={"group": "tuning", "help": "Draw each word's token from so many; 0 from all.", "min": 0},
    )
    audio_temperature: float = field(
        default=0.8,
        metadata={
            "group": "tuning",
            "help": "Temperature by which Moshi's voice is drawn; 0 always takes the likeliest.",
            "min": 0.0,
            "max": 2.0,
        },
    )
    audio_top_k: int = field(
        default=250,
        metadata={
            "group": "tuning",
            "help": "Draw each token of the voice from so many; 0 from all.",
            "min": 0,
        },
    )
    hang_secs: float = field(
        default=HANG_SECS,
        metadata={
            "group": "tuning",
            "help": "Seconds for which the engine may owe an answer before its call is ended.",
            "min": 0.01,
        },
    )
    remote: RemoteOptions = field(default_factory=RemoteOptions)
