"""Search for Moshi's files in a folder, in the hub's cache, or on the hub.

Cached files are used without a request; only missing ones are fetched. Every file is checked before it is
loaded, because a cache may hold part of a repo, or part of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.moshi.checkpoint.checkpoint import (
    CONFIG_NAME,
    WEIGHTS_NAMES,
    Checkpoint,
    Manifest,
    check,
    check_no_adapter,
    read_manifest,
    shapes_of,
)
from moshi_phone.engines.moshi.checkpoint.convert import (
    SOURCE_NAMES,
    converted,
    converted_from,
    find_converted,
    holds_personaplex,
    is_for_pytorch,
)
from moshi_phone.engines.moshi.checkpoint.hub import (
    DOWNLOAD,
    HubRepo,
    cache_folder,
    cache_folder_for,
)
from moshi_phone.engines.moshi.checkpoint.model_files import ModelFiles
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
    is_personaplex_repo,
    needs_personaplex,
)

ADAPTER_NAMES = ("lora.safetensors", "adapter_model.safetensors")  # Kyutai's fine-tuning, and PEFT's
KYUTAI = re.compile(r"kyutai/moshik[oa]-mlx-(q4|q8|bf16)")  # known to have no config.json


def find(options: EngineOptions, progress: Progress, *, repair: bool = False) -> Checkpoint:
    """Find the files selected by the options, fetch missing ones, and check all.

    Args:
        options: ``model``, ``voice`` and ``quantize`` count.
        progress: receives a line for each file that is found or fetched.
        repair: fetch damaged files of the hub again, instead of raising.

    Raises:
        EngineUnavailable: with a sentence that names the file and the remedy.
    """
    if (folder := _files(options).folder) is not None:
        return _in_folder(folder, options, progress)
    command = f"{DOWNLOAD} --voice {options.voice}" if needs_personaplex(options.voice) else DOWNLOAD
    hub = HubRepo(_repo(options), progress, download=command)
    return _in_repo(hub, options, progress, repair=repair)


def cached(options: EngineOptions, progress: Progress) -> Checkpoint | None:
    """Return the files if all are on this machine; None if one is missing.

    Raises:
        EngineUnavailable: when a file that is here is damaged.
    """
    files = _files(options)
    if (folder := files.folder) is not None:
        return _in_folder(folder, options, progress)
    hub = HubRepo(_repo(options), progress)
    return files.read_cached(lambda: _read_repo(hub, options, progress, may_fetch=False))


def kyutai_repo(options: EngineOptions) -> str:
    """Name Kyutai's repo for a voice and a quantization."""
    packing = options.packing_for(takes_persona=False)
    kind = "bf16" if packing == "none" else f"q{packing[0]}"
    return f"kyutai/{options.voice or MOSHI_VOICES[0]}-mlx-{kind}"


def voices(options: EngineOptions, progress: Progress) -> Voices:
    """Find the voices of a model that takes personas, and fetch and unpack them where they are missing.

    Raises:
        EngineUnavailable: with a sentence that names the remedy.
    """
    try:
        folder = _files(options).folder
        return voices_in_folder(folder) if folder else voices_of_repo(_repo(options), progress)
    except VoiceUnfit as error:
        raise EngineUnavailable(str(error)) from error


def cached_voices_of(options: EngineOptions) -> Voices | None:
    """Return PersonaPlex's voices if they are here: those of the named model, or else NVIDIA's."""
    if (folder := _files(options).folder) is not None:
        return voices_in_folder(folder)
    repo = options.model if is_personaplex_repo(options.model) else PERSONAPLEX_REPO
    return cached_voices(repo) or cached_voices(PERSONAPLEX_REPO)


def is_personaplex_wanted(options: EngineOptions) -> bool:
    """Whether the options mean PersonaPlex from the hub, which is converted on the first start."""
    return _files(options).folder is None and is_personaplex_repo(_repo(options))


def is_source_cached(options: EngineOptions) -> bool:
    """Whether PyTorch's file is on this machine, so that only the conversion remains."""
    return HubRepo(_repo(options), lambda _: None).cached(SOURCE_NAMES[0]) is not None


def _files(options: EngineOptions, hub: HubRepo | None = None) -> ModelFiles:
    def is_ours(path: Path) -> bool:
        return path.parent == _converted_folder(hub) if hub else converted_from(path) is not None

    return ModelFiles(
        options.model, "--model", lambda: _default_repo(options), kyutai_repo(options), DOWNLOAD, is_ours
    )


def _repo(options: EngineOptions) -> str:
    if is_file(options.voice):
        _check_voice_file(Path(options.voice).expanduser())  # checked before 16 GB are fetched
    return _files(options).repo


def _check_voice_file(path: Path) -> None:
    if not path.is_file():
        raise EngineUnavailable(f"There is no file {path} to take the voice from.")
    try:
        check_voice(path)
    except VoiceUnfit as error:
        raise EngineUnavailable(str(error)) from error


def _default_repo(options: EngineOptions) -> str:
    if not options.persona and not needs_personaplex(options.voice):
        if options.quantize == "4-8":
            raise EngineUnavailable(
                "Kyutai publishes Moshi with --quantize 4, 8 or none; 4-8 is for weights that are converted "
                "here, PersonaPlex or a --model in PyTorch's layout."
            )
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
    files, folders = _files(options), (folder, cache_folder_for(folder))

    def find_here(name: str) -> Path | None:
        return folder / name if (folder / name).is_file() else None

    def read() -> Checkpoint:
        manifest = _manifest(find_here(CONFIG_NAME), map(find_here, (*SOURCE_NAMES, *WEIGHTS_NAMES.values())))
        packing = options.packing_for(takes_persona=manifest.takes_persona)
        tokenizer = files.required(folder, manifest.tokenizer_name)
        mimi = files.required(folder, manifest.mimi_name)
        weights = _weights_in_folder(folder, manifest, folders, packing)
        if weights is None:
            for adapter in filter(None, map(find_here, ADAPTER_NAMES)):
                check_no_adapter(adapter, shapes_of(adapter))
            weights = files.required(folder, manifest.weights_name or WEIGHTS_NAMES[packing])
        weights = _usable(weights, folders, manifest, packing, progress)
        return _check(weights, mimi, tokenizer, manifest)

    progress(f"Moshi's weights come from {folder}.")
    return files.read_folder(read)


def _weights_in_folder(
    folder: Path, manifest: Manifest, folders: Sequence[Path], packing: str
) -> Path | None:
    """Choose the file of weights; None if there is none, or none of several is the requested one."""
    names = [manifest.weights_name] if manifest.weights_name else _candidates(packing)
    present = [folder / name for name in names if (folder / name).is_file()]
    theirs = [path for path in present if converted_from(path) is None]
    wanted = folder / WEIGHTS_NAMES[packing]
    if wanted in theirs:
        return wanted
    if source := next((path for path in theirs if is_for_pytorch(path)), None):
        return source
    if len(theirs) == 1:  # it is intended, regardless of the default of --quantize
        return theirs[0]
    return None if theirs else find_converted(None, folders, packing)


def _in_repo(hub: HubRepo, options: EngineOptions, progress: Progress, *, repair: bool) -> Checkpoint:
    def read() -> Checkpoint | None:
        checkpoint = _read_repo(hub, options, progress, may_fetch=False)
        if checkpoint is not None:
            progress(f"Moshi's weights come from the cache of {hub.name}.")
        return checkpoint

    def fetch() -> Checkpoint:
        checkpoint = _read_repo(hub, options, progress, may_fetch=True)
        assert checkpoint is not None  # noqa: S101 - for mypy: what cannot be fetched raises
        return checkpoint

    return _files(options, hub).read_repo(hub, read, fetch, repair=repair)


def _read_repo(
    hub: HubRepo, options: EngineOptions, progress: Progress, *, may_fetch: bool
) -> Checkpoint | None:
    """Check the files of a repo, the small ones first; None if one is missing, and may not be fetched."""

    def find(name: str, *, optional: bool = False) -> Path | None:
        return hub.get(name, optional=optional) if may_fetch else hub.cached(name)

    config = find(CONFIG_NAME, optional=True) if not KYUTAI.fullmatch(hub.name) else None
    if config is None and not (KYUTAI.fullmatch(hub.name) or may_fetch or hub.is_absent(CONFIG_NAME)):
        return None  # there may be one, and sizes must not be guessed
    cached_weights = map(hub.cached, (*SOURCE_NAMES, *WEIGHTS_NAMES.values()))
    manifest = _manifest(config, cached_weights, is_personaplex=is_personaplex_repo(hub.name))
    packing = options.packing_for(takes_persona=manifest.takes_persona)
    candidates = _candidates_of_repo(hub, packing)
    tokenizer = find(manifest.tokenizer_name)
    mimi = find(manifest.mimi_name) if tokenizer else None
    if tokenizer is None or mimi is None:
        return None
    folders = (_converted_folder(hub),)
    if (weights := find_converted(None, folders, packing)) is None:
        names = [manifest.weights_name] if manifest.weights_name else candidates
        for name in names:
            weights = find(name, optional=True)
            if weights is not None or not (may_fetch or hub.is_absent(name)):
                break
        if weights is None and may_fetch:
            raise hub.has_no(names[0])
    if weights is None or (not may_fetch and is_for_pytorch(weights)):
        return None
    return _check(_usable(weights, folders, manifest, packing, progress), mimi, tokenizer, manifest)


def _usable(
    weights: Path, folders: Sequence[Path], manifest: Manifest, packing: str, progress: Progress
) -> Path:
    """Return weights in mlx's layout: the file itself, or its conversion. The tensors decide."""
    if not is_for_pytorch(weights):
        return weights
    check_no_adapter(weights, shapes_of(weights))
    return converted(weights, folders, manifest.config, packing, progress)


def _check(weights: Path, mimi: Path, tokenizer: Path, manifest: Manifest) -> Checkpoint:
    takes_persona = manifest.takes_persona or holds_personaplex(weights)
    return check(weights, mimi, tokenizer, manifest.config, takes_persona=takes_persona)


def _manifest(
    config: Path | None, weights: Iterable[Path | None], *, is_personaplex: bool = False
) -> Manifest:
    """Read the manifest of files of which the weights may be here already."""
    is_known = is_personaplex or any(path is not None and holds_personaplex(path) for path in weights)
    return read_manifest(config, is_personaplex=is_known)


def _candidates(packing: str) -> list[str]:
    """Return the files that may contain the weights, the most likely first."""
    return list(dict.fromkeys([WEIGHTS_NAMES[packing], *SOURCE_NAMES, *WEIGHTS_NAMES.values()]))


def _candidates_of_repo(hub: HubRepo, packing: str) -> list[str]:
    for suffix, named in (("-q4", "4"), ("-q4-8", "4-8"), ("-q8", "8"), ("-bf16", "none")):
        if hub.name.endswith(suffix):  # the repo was named, and contains nothing else
            return list(dict.fromkeys([WEIGHTS_NAMES[named], *_candidates(packing)]))
    if is_personaplex_repo(hub.name):
        return list(dict.fromkeys([*SOURCE_NAMES, *_candidates(packing)]))
    return _candidates(packing)


def _converted_folder(hub: HubRepo) -> Path:
    return cache_folder(hub.name, hub.commit)
