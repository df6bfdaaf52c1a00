"""Voices: names, malicious archives, and recordings."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ
from moshi_phone.engines.duplex import EngineError
from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.persona.voice import (
    EmbeddedVoice,
    SpokenVoice,
    VoiceUnfit,
    encode_recording,
    read_recording,
    read_voice,
)
from moshi_phone.engines.moshi.persona.voices import (
    LIMIT_VOICES,
    VoiceLoader,
    Voices,
    check_voice,
    unpack,
    voices_in_folder,
)
from moshi_phone.engines.voices import PERSONAPLEX_VOICES, needs_personaplex

VOICE = Path(__file__).parents[1] / "data" / "personaplex_voice.pt"


def test_there_are_eighteen_voices() -> None:
    assert len(PERSONAPLEX_VOICES) == 18
    assert {"NATF0", "NATM3", "VARF4", "VARM4"} <= set(PERSONAPLEX_VOICES)
    assert [needs_personaplex(voice) for voice in ("", "moshika", "NATF2", "mine.wav")] == [0, 0, 1, 1]


# Archives.


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, *, size: int | None = None, link: str = ""
) -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        info.size = len(VOICE.read_bytes()) if size is None and kind == tarfile.REGTYPE else size or 0
        tar.addfile(info, io.BytesIO(VOICE.read_bytes()) if info.isreg() and size is None else None)

    return add


def archive(path: Path, *adders: Callable[[tarfile.TarFile], None]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for add in adders:
            add(tar)
    return path


def test_extracts_only_voices(tmp_path: Path) -> None:
    archive(
        tmp_path / "voices.tgz",
        entry("voices", tarfile.DIRTYPE),
        entry("voices/NATF2.pt"),
        entry("voices/._NATF2.pt"),
        entry("./voices/VARM0.pt"),
        entry("README.md"),
    )
    voices = voices_in_folder(tmp_path)
    assert voices.names == ["NATF2", "VARM0"]
    assert len(read_voice(voices.find("NATF2")).embeddings) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["voices", "voices.tgz"]
    voices_in_folder(tmp_path)
    unpack(tmp_path / "voices.tgz", tmp_path / "voices")  # as another process that was slower does


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (entry("../voices/NATF2.pt"), "leads out of it"),
        (entry("/etc/voices/NATF2.pt"), "leads out of it"),
        (entry("voices/../../NATF2.pt"), "outside the destination"),
        (entry("voices/NATF2.pt", tarfile.SYMTYPE, link="/etc/passwd"), "absolute path"),
        (entry("voices/NATF2.pt", tarfile.SYMTYPE, link="NATF0.pt"), "is no plain file"),
        (entry("voices/NATF2.pt", tarfile.LNKTYPE, link="../../x"), "outside the destination"),
        (entry("voices/NATF2.pt", tarfile.CHRTYPE), "is a special file"),
        (entry("voices/NATF2.pt", tarfile.FIFOTYPE), "is a special file"),
        (entry("voices/NATF2.pt", size=1 << 40), "has 1,099,511,627,776 bytes"),
    ],
)
def test_a_malicious_archive_is_refused_completely(
    tmp_path: Path, bad: Callable[[tarfile.TarFile], None], complaint: str
) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    path = archive(inside / "voices.tgz", entry("voices/NATM0.pt"), bad)
    with pytest.raises(VoiceUnfit) as caught:
        unpack(path, inside / "voices")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (inside / "voices").exists()
    outside = [file for file in tmp_path.rglob("*") if file.is_file() and inside not in file.parents]
    assert outside == []
    assert not list(inside.glob(".voices-*"))


def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tgz", entry("voices/NATF2.pt")).read_bytes()
    for data in (b"", b"nothing of the kind", whole[:-20], whole[:200]):
        (tmp_path / "voices.tgz").write_bytes(data)
        with pytest.raises(VoiceUnfit, match="is not a whole archive of voices"):
            voices_in_folder(tmp_path)
    many = [entry(f"voices/V{number}.pt", size=0) for number in range(LIMIT_VOICES + 1)]
    with pytest.raises(VoiceUnfit, match="more than 1000 files"):
        unpack(archive(tmp_path / "many.tgz", *many), tmp_path / "many")


# Names.


def test_a_voice_is_a_name_or_a_file(tmp_path: Path) -> None:
    voices = Voices(tmp_path / "voices")
    with pytest.raises(VoiceUnfit, match=r"There is no voice 'NATF2' in .* \(there are: none\)"):
        voices.find("NATF2")
    voices.folder.mkdir()
    (voices.folder / "NATF2.pt").write_bytes(b"")
    assert voices.find("NATF2") == voices.folder / "NATF2.pt"
    assert voices.find(str(VOICE)) == VOICE
    for wrong in ("NATF3", "../voices/NATF2", "", "a/b"):
        with pytest.raises(EngineError, match="There is no voice"):
            voices.find(wrong)
    with pytest.raises(VoiceUnfit, match=r"There is no file .*none\.pt to take the voice from"):
        voices.find(str(tmp_path / "none.pt"))


# Recordings.


def tone(secs: float, rate_hz: int, channels: int = 1) -> np.ndarray:
    times = np.arange(int(secs * rate_hz)) / rate_hz
    mono = 0.02 * np.sin(2 * np.pi * 300 * times) * (1 + np.sin(2 * np.pi * 3 * times))
    return np.stack([mono] * channels, axis=1)


@pytest.mark.parametrize(
    ("rate_hz", "channels", "kind", "subtype"),
    [
        (24_000, 1, "wav", "PCM_16"),
        (8_000, 1, "wav", "ULAW"),
        (44_100, 2, "wav", "PCM_24"),
        (48_000, 6, "wav", "FLOAT"),
        (11_025, 1, "flac", "PCM_16"),
    ],
)
def test_a_recording_of_any_rate_is_normalized_to_one_loudness(
    tmp_path: Path, rate_hz: int, channels: int, kind: str, subtype: str
) -> None:
    path = tmp_path / f"voice.{kind}"
    soundfile.write(path, tone(2.5, rate_hz, channels), rate_hz, subtype=subtype)
    pcm = read_recording(path)
    assert pcm.dtype == np.float32
    assert abs(len(pcm) - 2.5 * SAMPLE_RATE_HZ) <= 2
    assert abs(pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(pcm) + 24) < 0.1


@pytest.mark.parametrize("subtype", ["GSM610", "IMA_ADPCM", "MS_ADPCM", "PCM_U8"])
def test_a_recording_in_telephone_formats_is_read(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "voice.wav", tone(2.5, 8000), 8000, subtype=subtype)
    # These have whole blocks, the last of which is filled up.
    assert 2.5 <= len(read_recording(tmp_path / "voice.wav")) / SAMPLE_RATE_HZ < 2.6


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (
            lambda path: soundfile.write(path, tone(0.5, 8000), 8000),
            "lasts 0.5 s; expected a recording",
        ),
        (lambda path: soundfile.write(path, tone(31, 8000), 8000), "lasts 31.0 s"),
        (lambda path: soundfile.write(path, np.zeros(24_000), 8000), "is silent; expected somebody speaking"),
        (lambda path: path.write_bytes(b"RIFF nothing"), "cannot be read as sound"),
        (lambda path: path.write_bytes(b""), "cannot be read as sound"),
        (
            lambda path: soundfile.write(path, np.full(16_000, np.nan), 8000, subtype="FLOAT"),
            "values that are not finite",
        ),
    ],
)
def test_an_unusable_recording_is_refused(
    tmp_path: Path, make: Callable[[Path], object], complaint: str
) -> None:
    make(tmp_path / "voice.wav")
    with pytest.raises(VoiceUnfit) as caught:
        read_recording(tmp_path / "voice.wav")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_last_frame_of_a_recording_is_padded() -> None:
    class Counting:
        def __init__(self) -> None:
            self.frames: list[np.ndarray] = []

        def encode(self, pcm: np.ndarray) -> np.ndarray:
            self.frames.append(pcm)
            return np.full(8, len(self.frames), np.uint32)

    mimi = Counting()
    voice = encode_recording(np.ones(2 * FRAME_SAMPLES + 5, np.float32), mimi)  # type: ignore[arg-type]
    assert voice.tokens.tolist() == [[1] * 8, [2] * 8, [3] * 8]
    assert mimi.frames[2].sum() == 5


PT = Path(__file__).parents[1] / "data" / "personaplex_voice.pt"


class Codecs:
    """Counts the borrowed codecs; their tokens are zeros."""

    def __init__(self) -> None:
        self.loaned = 0

    @contextmanager
    def borrow(self) -> Iterator[Mimi]:
        self.loaned += 1
        yield self  # type: ignore[misc]

    def encode(self, _: np.ndarray) -> np.ndarray:
        return np.zeros(8, np.uint32)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "anna.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 2 * 8000), 8000)
    return path


def test_the_model_s_own_voice_needs_no_file(tmp_path: Path) -> None:
    assert VoiceLoader(Voices(tmp_path), Codecs().borrow)("") is None


def test_a_recording_is_encoded_once_until_it_changes(tmp_path: Path, recording: Path) -> None:
    codecs = Codecs()
    load = VoiceLoader(Voices(tmp_path), codecs.borrow)
    voice = load(str(recording))
    assert isinstance(voice, SpokenVoice)
    assert voice.frames == 25
    assert load(str(recording)) is voice
    assert codecs.loaned == 1
    os.utime(recording, (1, 1))
    load(str(recording))
    assert codecs.loaned == 2


def test_nvidia_s_voices_need_no_codec(tmp_path: Path) -> None:
    (tmp_path / "NATF2.pt").symlink_to(PT)
    codecs = Codecs()
    load = VoiceLoader(Voices(tmp_path), codecs.borrow)
    assert isinstance(load("NATF2"), EmbeddedVoice)
    assert codecs.loaned == 0
    with pytest.raises(VoiceUnfit, match="There is no voice 'NATM0'"):
        load("NATM0")


def test_a_file_is_checked_without_a_model(tmp_path: Path, recording: Path) -> None:
    check_voice(PT)
    check_voice(recording)
    for name in ("bad.pt", "bad.wav"):
        (tmp_path / name).write_bytes(b"neither")
        with pytest.raises(VoiceUnfit):
            check_voice(tmp_path / name)
