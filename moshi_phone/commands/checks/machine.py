"""Checks of this machine: packages, accelerator, models, memory and disk."""

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

PROJECT = Path(__file__).parents[3] / "pyproject.toml"  # in the repository; an installed package has none
EXTRAS = ("server", "moshi", "rehearse")
GIGABYTE = 1_000_000_000
WEIGHTS_GB = {"4": 5.3, "4-8": 5.6, "8": 8.7, "none": 15.9}
"""Size of Moshi's files by quantization: 4.81, 8.17 or 15.4, plus Mimi's 0.39, rounded up."""


PERSONAPLEX_SOURCE_GB = 16.7
"""Size of PersonaPlex as published by NVIDIA; its conversion also writes files of Moshi's size."""


def check_python(found: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Check that this Python version is one that the tests cover."""
    version = ".".join(map(str, found))
    if (3, 11) <= found < (3, 14):
        return Check("python", "ok", version)
    return Check("python", "fail", version, "use Python 3.11, 3.12 or 3.13: uv run --python 3.12 bot.py")


def check_packages(project: Path = PROJECT) -> Check:
    """Check that all required packages are installed and new enough."""
    needed = _requirements(project)
    wrong = []
    for requirement in needed:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        # Pre-releases of newer versions are accepted: only old versions are an error.
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version}, wanted {requirement.specifier}")
    if wrong:
        return Check("packages", "fail", "; ".join(wrong), "uv sync")
    named = ", ".join(f"{name} {metadata.version(name)}" for name in ("pipecat-ai", "twilio", "mlx"))
    return Check("packages", "ok", f"{len(needed)} of {len(needed)}: {named}, …")


def _requirements(project: Path) -> list[Requirement]:
    """Return the requirements on this machine, from pyproject.toml or the installed package."""
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
    """Check what Moshi would run on."""
    if options.engine == "parrot" or uses_backends(options):
        return Check("accelerator", "note", _not_needed(options))
    found = accelerator()
    if found:
        return Check("accelerator", "ok", found)
    if gpu := unused_gpu():
        state: Literal["fail", "note"] = "fail" if options.engine == "moshi" else "note"
        return Check("accelerator", state, f"{gpu}, which mlx does not use", nvidia.REMEDY)
    if options.engine == "moshi":
        return Check(
            "accelerator",
            "fail",
            "none, and the CPU is too slow for Moshi",
            "use a Mac with Apple silicon or an NVIDIA GPU, or --engine parrot",
        )
    return Check(
        "accelerator",
        "note",
        "none: the parrot will answer",
        "use a Mac with Apple silicon or an NVIDIA GPU for Moshi",
    )


def moshi_answers(options: EngineOptions) -> bool:
    """Return whether Moshi answers calls, rather than the parrot."""
    if uses_backends(options):
        return False
    return options.engine == "moshi" or (options.engine == "auto" and accelerator() is not None)


def _not_needed(options: EngineOptions) -> str:
    return f"not needed for {'servers elsewhere' if uses_backends(options) else 'the parrot'}"


def check_weights(options: EngineOptions) -> Check:
    """Check that all of Moshi's files are here and intact."""
    if not moshi_answers(options):
        return Check("weights", "note", _not_needed(options))
    from moshi_phone.engines.moshi.find_files import cached  # noqa: PLC0415 - loads mlx, which the parrot does not need

    try:
        found = cached(options, lambda _: None)
    except EngineUnavailable as error:
        return Check("weights", "fail", str(error))
    if found is None:
        return Check("weights", "fail", "some of them are missing", "uv run bot.py download")
    return Check("weights", "ok", f"at {found.weights.parent}")


def check_voices(options: EngineOptions) -> Check | None:
    """Check that PersonaPlex's voices are here; None if Moshi's own voice is used."""
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
    """Return the size of the missing files, plus that of their conversion, in GB."""
    from moshi_phone.engines.moshi import find_files  # noqa: PLC0415 - as above

    if not find_files.is_personaplex_wanted(options):
        return WEIGHTS_GB[options.packing]
    source_gb = 0.0 if find_files.is_source_cached(options) else PERSONAPLEX_SOURCE_GB
    return source_gb + WEIGHTS_GB[options.packing]


def check_listening(options: EngineOptions) -> Check:
    """Check that all of the listening model's files are here and intact."""
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
        return Check("listening", "fail", "files of the model are missing", LISTENING_DOWNLOAD)
    return Check("listening", "ok", f"at {found.weights.parent}")


def check_memory(options: EngineOptions) -> Check:
    """Check that the models and calls fit into memory."""
    if not moshi_answers(options):
        return Check("memory", "note", _not_needed(options))
    from moshi_phone.engines.moshi import memory  # noqa: PLC0415 - as above
    from moshi_phone.engines.moshi.find_files import cached  # noqa: PLC0415
    from moshi_phone.engines.moshi.model.quantized_model import quantization_named  # noqa: PLC0415
    from moshi_phone.engines.moshi.stt.checkpoint import stt_1b  # noqa: PLC0415
    from moshi_phone.vendor.moshi_mlx.models.lm import config_v0_1  # noqa: PLC0415

    try:
        found = cached(options, lambda _: None)
    except EngineUnavailable:  # the check of the weights reports it
        found = None
    calls = max(1, options.moshi_calls)  # --calls auto uses what fits, and one call must
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
    """Check the disk space for missing files.

    Args:
        options: ``quantize`` determines the size.
        weights_are_here: whether nothing is missing.
        cache: the hub's cache.
    """
    folder = cache or Path(constants.HF_HUB_CACHE)
    while not folder.exists():  # the first download creates the cache
        folder = folder.parent
    free_gb = shutil.disk_usage(folder).free / GIGABYTE
    wanted_gb = 0.0 if weights_are_here else _wanted_gb(options)
    found = f"{free_gb:.0f} GB free at {folder}"
    if free_gb < wanted_gb:
        return Check(
            "disk", "fail", f"{found}, {wanted_gb:.0f} wanted", "free some, or set HF_HOME to another disk"
        )
    return Check("disk", "ok", found)
