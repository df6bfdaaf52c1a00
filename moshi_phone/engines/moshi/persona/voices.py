"""The installed voices: listing, lookup by name, unpacking and loading."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.moshi.checkpoint.hub import DOWNLOAD, HubRepo, cache_folder
from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.persona.voice import (
    SpokenVoice,
    Voice,
    VoiceUnfit,
    encode_recording,
    read_recording,
    read_voice,
)
from moshi_phone.engines.voices import PERSONAPLEX_REPO, PERSONAPLEX_VOICE, VOICE_NAME, is_file

ARCHIVE_NAME = "voices.tgz"
FOLDER_NAME = "voices"
LIMIT_VOICES = 1000
LIMIT_VOICE_BYTES = 64 << 20


class Voices:
    """The voices of a model.

    Args:
        folder: folder of the ``NAME.pt`` files; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def names(self) -> list[str]:
        """Names of the installed voices, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.pt")) if self.folder.is_dir() else []

    def find(self, voice: str) -> Path:
        """Return the file of a voice, given its name or a path.

        Raises:
            VoiceUnfit: when it does not exist.
        """
        if is_file(voice):
            path = Path(voice).expanduser()
            if not path.is_file():
                raise VoiceUnfit(f"There is no file {path} to take the voice from.")
            return path
        path = self.folder / f"{voice}.pt"
        if not VOICE_NAME.fullmatch(voice) or not path.is_file():
            there = ", ".join(self.names) or "none"
            raise VoiceUnfit(
                f"There is no voice {voice!r} in {self.folder} (there are: {there}); "
                "'uv run bot.py voices' lists them all."
            )
        return path


def voices_in_folder(folder: Path) -> Voices:
    """Return the voices in a model's folder; unpack its ``voices.tgz`` there if necessary.

    Raises:
        VoiceUnfit: when the archive has unexpected content.
    """
    voices = Voices(folder / FOLDER_NAME)
    if not voices.folder.is_dir() and (folder / ARCHIVE_NAME).is_file():
        unpack(folder / ARCHIVE_NAME, voices.folder)
    return voices


def voices_of_repo(repo: str, progress: Progress) -> Voices:
    """Return a repo's voices, or NVIDIA's if it has none; fetch and unpack them if necessary.

    Raises:
        EngineUnavailable: when the download fails.
        VoiceUnfit: when the archive has unexpected content.
    """
    if (found := cached_voices(repo)) is not None:
        return found
    hub = HubRepo(repo, progress, download=f"{DOWNLOAD} --voice {PERSONAPLEX_VOICE}")
    archive = hub.get(ARCHIVE_NAME, optional=repo != PERSONAPLEX_REPO)
    if archive is None:
        return voices_of_repo(PERSONAPLEX_REPO, progress)
    folder = cache_folder(repo, hub.commit) / FOLDER_NAME
    progress(f"Unpacking {ARCHIVE_NAME}.")
    unpack(archive, folder)
    return Voices(folder)


def cached_voices(repo: str) -> Voices | None:
    """Return a repo's voices if they are on this machine. Makes no request."""
    hub = HubRepo(repo, lambda _: None)
    if hub.cached(ARCHIVE_NAME) is None:
        return None
    folder = cache_folder(repo, hub.commit) / FOLDER_NAME
    return Voices(folder) if folder.is_dir() else None


def unpack(archive: Path, folder: Path) -> None:
    """Unpack ``voices/NAME.pt`` files only. The folder appears once it is complete.

    Links, devices and paths that leave the folder make the whole archive unfit.

    Raises:
        VoiceUnfit: with the reason.
        EngineUnavailable: when the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A sibling folder is on the same disk, so an atomic rename can move it into place.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".voices-") as made:
            unpacked = Path(made) / FOLDER_NAME
            unpacked.mkdir()
            _unpack(archive, unpacked)
            unpacked.rename(folder)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise VoiceUnfit(f"{archive} is not a whole archive of voices ({error}).") from error
    except OSError as error:
        if folder.is_dir():
            return  # another process was quicker
        raise EngineUnavailable(f"{archive} cannot be unpacked ({error}).") from error


def _unpack(archive: Path, folder: Path) -> None:
    count = 0
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            count += 1
            name = _voice_of(member, archive, folder)
            if count > LIMIT_VOICES:
                raise VoiceUnfit(
                    f"{archive} is not an archive of voices: it has more than {LIMIT_VOICES} files."
                )
            if name is None:
                continue
            data = tar.extractfile(member)
            with (folder / f"{name}.pt").open("xb") as file:
                shutil.copyfileobj(data, file)  # type: ignore[arg-type] # a regular file's is never None


def _voice_of(member: tarfile.TarInfo, archive: Path, folder: Path) -> str | None:
    """Return a member's voice name; None for members to skip.

    Raises:
        VoiceUnfit: when the member is not allowed in an archive of voices.
    """
    try:
        tarfile.data_filter(member, str(folder))  # Python's own; stricter below, as voices need no links
    except tarfile.FilterError as error:
        raise VoiceUnfit(f"{archive} is not an archive of voices: {error}.") from error
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise VoiceUnfit(f"{archive} is not an archive of voices: {member.name!r} leads out of it.")
    if not (member.isreg() or member.isdir()):
        raise VoiceUnfit(f"{archive} is not an archive of voices: {member.name!r} is no plain file.")
    if member.size > LIMIT_VOICE_BYTES:
        raise VoiceUnfit(
            f"{archive} is not an archive of voices: {member.name!r} has {member.size:,} bytes, "
            f"expected at most {LIMIT_VOICE_BYTES:,}."
        )
    if member.isdir() or path.parts[-2:-1] != (FOLDER_NAME,) or path.suffix != ".pt":
        return None
    return path.stem if VOICE_NAME.fullmatch(path.stem) else None


RECORDINGS_KEPT = 16  # a few kilobytes each


class VoiceLoader:
    """Loads voices and caches the tokens of recordings, since encoding takes half a recording's length.

    Args:
        voices: finds their files.
        borrow_mimi: context manager of a codec without earlier state.
    """

    def __init__(self, voices: Voices, borrow_mimi: Callable[[], AbstractContextManager[Mimi]]) -> None:
        self._voices = voices
        self._borrow_mimi = borrow_mimi
        # By path and modification time: an edited recording is encoded again.
        self._recordings: OrderedDict[tuple[Path, int], SpokenVoice] = OrderedDict()

    def __call__(self, voice: str) -> Voice | None:
        """Load a voice; None for the model's own. Takes seconds for a recording.

        Raises:
            VoiceUnfit: when the voice does not exist or is unusable.
        """
        if not voice:
            return None
        path = self._voices.find(voice)
        if path.suffix == ".pt":
            return read_voice(path)
        # Only recordings are cached: encoding takes seconds, reading a .pt milliseconds.
        key = (path, path.stat().st_mtime_ns)  # an edited file is another voice
        if key not in self._recordings:
            pcm = read_recording(path)
            with self._borrow_mimi() as mimi:
                self._recordings[key] = encode_recording(pcm, mimi)
            while len(self._recordings) > RECORDINGS_KEPT:
                self._recordings.popitem(last=False)
        return self._recordings[key]


def check_voice(path: Path) -> None:
    """Check a voice's file without a model.

    Raises:
        VoiceUnfit: with the reason.
    """
    if path.suffix == ".pt":
        read_voice(path)
    else:
        read_recording(path)
