"""Finds Moshi's files: in a folder, in the hub's cache, or on the hub.

What is cached is used without asking anybody. Only what is missing is fetched. Every file is checked
before it is loaded, because a cache may hold part of a repo, or part of a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.moshi.checkpoint.checkpoint import (
    CONFIG_NAME,
    WEIGHTS_NAMES,
    Checkpoint,
    Unfit,
    check,
    read_manifest,
)
from moshi_phone.engines.moshi.checkpoint.convert import (
    CONVERTED_NAMES,
    SOURCE_NAME,
    Conversion,
    cache_folder,
    drop_if_older,
    is_for_pytorch,
    is_personaplex,
    published_for_pytorch,
)
from moshi_phone.engines.moshi.checkpoint.hub import DOWNLOAD, REPO, HubRepo
from moshi_phone.engines.moshi.model.language_model import QUANTIZATIONS, Quantization
from moshi_phone.engines.moshi.persona.voice import VoiceUnfit
from moshi_phone.engines.moshi.persona.voices import (
    Voices,
    cached_voices,
    check_voice,
    voices_in_folder,
    voices_of_repo,
)
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.voices import (
    MOSHI_VOICES,
    PERSONAPLEX_REPO,
    PERSONAPLEX_VOICES,
    is_file,
    needs_personaplex,
)

KYUTAI = re.compile(r"kyutai/moshik[oa]-mlx-(q4|q8|bf16)")  # known to have no config.json


def find(options: EngineOptions, progress: Progress, *, repair: bool = False) -> Checkpoint:
    """Find the files that the options name, fetch those that are missing, and check all of them.

    Args:
        options: ``model``, ``voice`` and ``quantize`` count.
        progress: hears what is found and what is fetched.
        repair: fetch damaged files of the hub anew, in place of complaining.

    Raises:
        EngineUnavailable: with a sentence that names the file and the remedy.
    """
    if (folder := _folder(options)) is not None:
        return _in_folder(folder, options, progress)
    return _in_repo(HubRepo(_repo(options), progress), options, progress, repair=repair)


def cached(options: EngineOptions, progress: Progress) -> Checkpoint | None:
    """Give the files if all are here; None where some would have to be fetched.

    Raises:
        EngineUnavailable: when a file that is here is damaged.
    """
    if (folder := _folder(options)) is not None:
        return _in_folder(folder, options, progress)
    hub = HubRepo(_repo(options), progress)
    try:
        conversion = _conversion_of_repo(hub, options, progress, may_convert=False)
        return _read(
            hub.cached,
            hub.cached(CONFIG_NAME),
            _weights_name(hub.name, options),
            conversion,
            personaplex=conversion is not None,
        )
    except Unfit as error:
        raise _damaged(error) from error


def kyutai_repo(options: EngineOptions) -> str:
    """Name Kyutai's repo for a voice and a quantization."""
    kind = "bf16" if options.quantize == "none" else f"q{options.quantize}"
    return f"kyutai/{options.voice or MOSHI_VOICES[0]}-mlx-{kind}"


def voices(options: EngineOptions, progress: Progress) -> Voices:
    """Find the voices of a model that takes personas, and fetch and unpack them where they are missing.

    Raises:
        EngineUnavailable: with a sentence that names the remedy.
    """
    try:
        folder = _folder(options)
        return voices_in_folder(folder) if folder else voices_of_repo(_repo(options), progress)
    except VoiceUnfit as error:
        raise EngineUnavailable(str(error)) from error


def cached_voices_of(options: EngineOptions) -> Voices | None:
    """Give PersonaPlex's voices if they are here: those of the model that is named, or else NVIDIA's."""
    if (folder := _folder(options)) is not None:
        return voices_in_folder(folder)
    repo = options.model if published_for_pytorch(options.model) else PERSONAPLEX_REPO
    return cached_voices(repo) or cached_voices(PERSONAPLEX_REPO)


def is_personaplex_wanted(options: EngineOptions) -> bool:
    """Whether the options mean PersonaPlex from the hub, which is converted on the first start."""
    return _folder(options) is None and published_for_pytorch(_repo(options))


def is_source_cached(options: EngineOptions) -> bool:
    """Whether PyTorch's file is here, so that only the conversion is left to be done."""
    return HubRepo(_repo(options), lambda _: None).cached(SOURCE_NAME) is not None


def _folder(options: EngineOptions) -> Path | None:
    folder = Path(options.model).expanduser()
    return folder if options.model and folder.is_dir() else None


def _repo(options: EngineOptions) -> str:
    if is_file(options.voice):
        _check_voice_file(Path(options.voice).expanduser())  # before 16 GB are fetched to speak with it
    repo = options.model or _default_repo(options)
    if not REPO.fullmatch(repo):
        raise EngineUnavailable(
            f"There is no folder {repo}; --model takes a folder, "
            f"or a repo of the hub such as {kyutai_repo(options)}."
        )
    return repo


def _check_voice_file(path: Path) -> None:
    if not path.is_file():
        raise EngineUnavailable(f"There is no file {path} to take the voice from.")
    try:
        check_voice(path)
    except VoiceUnfit as error:
        raise EngineUnavailable(str(error)) from error


def _default_repo(options: EngineOptions) -> str:
    if not options.persona and not needs_personaplex(options.voice):
        return kyutai_repo(options)
    if options.voice in MOSHI_VOICES:
        raise EngineUnavailable(
            f"--voice {options.voice} is Moshi's, which takes no persona; leave it out, or name one of "
            f"PersonaPlex's ({PERSONAPLEX_VOICES[0]} … {PERSONAPLEX_VOICES[-1]})."
        )
    if options.voice and not is_file(options.voice) and options.voice not in PERSONAPLEX_VOICES:
        raise EngineUnavailable(
            f"There is no voice {options.voice!r}; 'uv run bot.py voices' lists those that there are."
        )
    return PERSONAPLEX_REPO


def _in_folder(folder: Path, options: EngineOptions, progress: Progress) -> Checkpoint:
    def find_here(name: str) -> Path | None:
        return folder / name if (folder / name).is_file() else None

    def find_or_complain(name: str) -> Path:
        path = find_here(name)
        if path is None:
            raise EngineUnavailable(
                f"{folder / name} is missing; put it there, or leave out --model for {kyutai_repo(options)}."
            )
        return path

    wanted = WEIGHTS_NAMES[options.quantize]
    present = [name for name in WEIGHTS_NAMES.values() if find_here(name)]
    # A folder with one file of weights means that one, whatever --quantize says by default.
    weights_name = wanted if wanted in present or len(present) != 1 else present[0]
    progress(f"Moshi's weights come from {folder}.")
    conversion = None
    if is_for_pytorch(folder / SOURCE_NAME):
        target = folder / CONVERTED_NAMES[options.quantize]
        drop_if_older(target, folder / SOURCE_NAME)
        conversion = Conversion(lambda: target, _quantization(options), progress)
    try:
        checkpoint = _read(
            find_or_complain,
            find_here(CONFIG_NAME),
            weights_name,
            conversion,
            personaplex=is_personaplex(folder / (SOURCE_NAME if conversion else weights_name)),
        )
    except Unfit as error:
        raise EngineUnavailable(f"{error}; copy it there again.") from error
    assert checkpoint is not None  # noqa: S101 - for mypy: find_or_complain never gives None
    return checkpoint


def _in_repo(hub: HubRepo, options: EngineOptions, progress: Progress, *, repair: bool) -> Checkpoint:
    weights_name = _weights_name(hub.name, options)
    conversion = _conversion_of_repo(hub, options, progress)
    only_here = _conversion_of_repo(hub, options, progress, may_convert=False)
    personaplex = conversion is not None
    repaired: set[str] = set()
    while True:
        try:
            config = hub.cached(CONFIG_NAME)
            # First with what is here alone: then not one request is made.
            checkpoint = _read(hub.cached, config, weights_name, only_here, personaplex=personaplex)
            if checkpoint is not None:
                progress(f"Moshi's weights come from the cache of {hub.name}.")
                return checkpoint
            config = None if KYUTAI.fullmatch(hub.name) else hub.get(CONFIG_NAME, optional=True)
            checkpoint = _read(hub.get, config, weights_name, conversion, personaplex=personaplex)
            assert checkpoint is not None  # noqa: S101 - for mypy: hub.get gives None only if optional
        except Unfit as error:
            file = error.path.name
            if conversion is not None and file in CONVERTED_NAMES.values() and file not in repaired:
                error.path.unlink()  # it is ours, and is made again
                repaired.add(file)
                continue
            if file in repaired:
                raise EngineUnavailable(
                    f"{error}; {hub.name} holds it like this, try another --model."
                ) from error
            if not repair:
                raise _damaged(error) from error
            hub.fetch_anew(file)
            repaired.add(file)
        else:
            return checkpoint


def _read(
    find_file: Callable[[str], Path | None],
    config: Path | None,
    weights_name: str,
    conversion: Conversion | None,
    *,
    personaplex: bool = False,
) -> Checkpoint | None:
    """Check the files of a checkpoint; None where one of them is not found. The small ones come first."""
    manifest = read_manifest(config, is_personaplex=personaplex)
    tokenizer = find_file(manifest.tokenizer_name)
    mimi = find_file(manifest.mimi_name) if tokenizer else None
    if tokenizer is None or mimi is None:
        return None
    if conversion is None:
        weights = find_file(manifest.weights_name or weights_name)
    else:
        weights = conversion.weights(find_file, manifest.config)
    if weights is None:
        return None
    return check(weights, mimi, tokenizer, manifest.config, takes_persona=manifest.takes_persona)


def _conversion_of_repo(
    hub: HubRepo, options: EngineOptions, progress: Progress, *, may_convert: bool = True
) -> Conversion | None:
    if not published_for_pytorch(hub.name):
        return None

    def target() -> Path:
        return cache_folder(hub.name, hub.commit) / CONVERTED_NAMES[options.quantize]

    return Conversion(target, _quantization(options), progress, may_convert)


def _quantization(options: EngineOptions) -> Quantization | None:
    return None if options.quantize == "none" else QUANTIZATIONS[int(options.quantize)]


def _weights_name(repo: str, options: EngineOptions) -> str:
    for suffix, quantize in (("-q4", "4"), ("-q8", "8"), ("-bf16", "none")):
        if repo.endswith(suffix):  # the repo was named, and holds nothing else
            return WEIGHTS_NAMES[quantize]
    return WEIGHTS_NAMES[options.quantize]


def _damaged(error: Unfit) -> EngineUnavailable:
    return EngineUnavailable(f"{error}; run '{DOWNLOAD}' to fetch it again.")
