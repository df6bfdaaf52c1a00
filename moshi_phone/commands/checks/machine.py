"""Whether this machine can run the program and its engine."""

from __future__ import annotations

import shutil
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Literal

from huggingface_hub import constants
from packaging.requirements import Requirement

from moshi_phone.commands.checks.check import Check
from moshi_phone.engines import nvidia
from moshi_phone.engines.choose import accelerator, unused_gpu, uses_backends
from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.voices import PERSONAPLEX_VOICE, needs_personaplex

PROJECT = (
    Path(__file__).parents[3] / "pyproject.toml"
)  # of the repository; an installed package has none there
EXTRAS = ("server", "moshi", "rehearse")
GIGABYTE = 1_000_000_000
WEIGHTS_GB = {"4": 5.3, "4-8": 5.6, "8": 8.7, "none": 15.9}
"""What Moshi's files take, by quantization: 4.81, 8.17 or 15.4, Mimi's 0.39, and some room."""


PERSONAPLEX_SOURCE_GB = 16.7
"""PersonaPlex as NVIDIA publishes it; the conversion writes what Moshi's files take beside it."""


def check_python(found: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Python is one of those that this program is tested with."""
    version = ".".join(map(str, found))
    if (3, 11) <= found < (3, 14):
        return Check("python", "ok", version)
    return Check("python", "fail", version, "use Python 3.11, 3.12 or 3.13: uv run --python 3.12 bot.py")


def check_packages(project: Path = PROJECT) -> Check:
    """Every package that the program needs is here, and new enough."""
    needed = _requirements(project)
    wrong = []
    for requirement in needed:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        # An early version of a newer one will do: what is asked for is that nothing is too old.
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version}, wanted {requirement.specifier}")
    if wrong:
        return Check("packages", "fail", "; ".join(wrong), "uv sync")
    named = ", ".join(f"{name} {metadata.version(name)}" for name in ("pipecat-ai", "twilio", "mlx"))
    return Check("packages", "ok", f"{len(needed)} of {len(needed)}: {named}, …")


def _requirements(project: Path) -> list[Requirement]:
    """Give what the program needs on this machine, as the project's file or the installed package says."""
    if project.exists():
        declared = tomllib.loads(project.read_text())["project"]
        extras = declared.get("optional-dependencies", {})
        lines = [*declared["dependencies"], *(line for extra in EXTRAS for line in extras.get(extra, ()))]
    else:
        lines = metadata.requires("moshi-phone") or []
    needed = [Requirement(line) for line in lines]
    return [
        one
        for one in needed
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in EXTRAS)
    ]


def check_accelerator(options: EngineOptions) -> Check:
    """What Moshi runs on."""
    if options.engine == "parrot" or uses_backends(options):
        return Check("accelerator", "note", _not_needed(options))
    found = accelerator()
    if found:
        return Check("accelerator", "ok", found)
    if card := unused_gpu():
        state: Literal["fail", "note"] = "fail" if options.engine == "moshi" else "note"
        return Check("accelerator", state, f"{card}, which mlx does not use", nvidia.REMEDY)
    if options.engine == "moshi":
        return Check(
            "accelerator",
            "fail",
            "none, and the processor is too slow for Moshi",
            "use a Mac with Apple silicon or an NVIDIA card, or --engine parrot",
        )
    return Check(
        "accelerator",
        "note",
        "none: the parrot will answer",
        "use a Mac with Apple silicon or an NVIDIA card for Moshi",
    )


def moshi_answers(options: EngineOptions) -> bool:
    """Whether it will be Moshi who answers, and not the parrot."""
    if uses_backends(options):
        return False
    return options.engine == "moshi" or (options.engine == "auto" and accelerator() is not None)


def _not_needed(options: EngineOptions) -> str:
    return f"not needed for {'servers elsewhere' if uses_backends(options) else 'the parrot'}"


def check_weights(options: EngineOptions) -> Check:
    """Moshi's files are here, all of them, whole."""
    if not moshi_answers(options):
        return Check("weights", "note", _not_needed(options))
    from moshi_phone.engines.moshi.find_files import cached  # noqa: PLC0415 - loads mlx, which the parrot does not need

    try:
        found = cached(options, lambda _: None)
    except EngineUnavailable as error:
        return Check("weights", "fail", str(error))
    if found is None:
        return Check("weights", "fail", "not all of them are here", "uv run bot.py download")
    return Check("weights", "ok", f"at {found.weights.parent}")


def check_voices(options: EngineOptions) -> Check | None:
    """PersonaPlex's voices are here; None where Moshi answers with its own."""
    if not moshi_answers(options) or not (options.persona or needs_personaplex(options.voice)):
        return None
    from moshi_phone.engines.moshi.find_files import cached_voices_of  # noqa: PLC0415
    from moshi_phone.engines.moshi.persona.voice import VoiceUnfit  # noqa: PLC0415 - as above
    from moshi_phone.engines.moshi.persona.voices import check_voice  # noqa: PLC0415

    try:
        voices = cached_voices_of(options)
        if voices is None:
            return Check("voices", "fail", "they are not here", "uv run bot.py download --voice NATF2")
        voice = options.voice or PERSONAPLEX_VOICE
        check_voice(voices.find(voice))
    except (VoiceUnfit, EngineUnavailable) as error:
        return Check("voices", "fail", str(error))
    return Check("voices", "ok", f"{voice}, one of {len(voices.names)} at {voices.folder}")


def _wanted_gb(options: EngineOptions) -> float:
    """What is still to be fetched, and what a conversion writes beside it."""
    from moshi_phone.engines.moshi import find_files  # noqa: PLC0415 - as above

    if not find_files.is_personaplex_wanted(options):
        return WEIGHTS_GB[options.packing]
    source_gb = 0.0 if find_files.is_source_cached(options) else PERSONAPLEX_SOURCE_GB
    return source_gb + WEIGHTS_GB[options.packing]


def check_listening(options: EngineOptions) -> Check:
    """The listening model's files are here, all of them, whole."""
    if not moshi_answers(options):
        return Check("listening", "note", _not_needed(options))
    from moshi_phone.engines.moshi.stt.checkpoint import (  # noqa: PLC0415 - as above
        LISTENING_DOWNLOAD,
        cached_listening,
    )

    try:
        found = cached_listening(options)
    except EngineUnavailable as error:
        return Check("listening", "fail", str(error))
    if found is None:
        return Check("listening", "fail", "the model is not all here", LISTENING_DOWNLOAD)
    return Check("listening", "ok", f"at {found.weights.parent}")


def check_memory(options: EngineOptions) -> Check:
    """What the options take fits into this machine's memory."""
    if not moshi_answers(options):
        return Check("memory", "note", _not_needed(options))
    from moshi_phone.engines.moshi import memory  # noqa: PLC0415 - as above
    from moshi_phone.engines.moshi.find_files import cached  # noqa: PLC0415
    from moshi_phone.engines.moshi.model.quantized_model import quantization_named  # noqa: PLC0415
    from moshi_phone.engines.moshi.stt.checkpoint import stt_1b  # noqa: PLC0415
    from moshi_phone.vendor.moshi_mlx.models.lm import config_v0_1  # noqa: PLC0415

    try:
        found = cached(options, lambda _: None)
    except EngineUnavailable:  # the check of the weights says what is wrong with them
        found = None
    calls = max(1, options.calls)  # --calls auto takes what fits, and one call has to
    if found is None:
        need = memory.model_need(config_v0_1(), quantization_named(options.packing), calls)
    else:
        need = memory.model_need(found.config, found.quantization, calls)
    if options.listens:
        need += memory.model_need(stt_1b(), None, calls)
    verdict = memory.weigh_here(need + memory.program_need(calls, listening=options.listens))
    if verdict.fits:
        return Check("memory", "ok", verdict.text)
    return Check("memory", "fail", verdict.text, memory.TAKE_LESS)


def check_disk(options: EngineOptions, *, weights_are_here: bool, cache: Path | None = None) -> Check:
    """There is room for what is still to be fetched.

    Args:
        options: ``quantize`` says how much that is.
        weights_are_here: whether nothing is to be fetched.
        cache: the hub's cache.
    """
    folder = cache or Path(constants.HF_HUB_CACHE)
    while not folder.exists():  # the cache is made with the first download
        folder = folder.parent
    free_gb = shutil.disk_usage(folder).free / GIGABYTE
    wanted_gb = 0.0 if weights_are_here else _wanted_gb(options)
    found = f"{free_gb:.0f} GB free at {folder}"
    if free_gb < wanted_gb:
        return Check(
            "disk", "fail", f"{found}, {wanted_gb:.0f} wanted", "free some, or set HF_HOME to another disk"
        )
    return Check("disk", "ok", found)
