"""Gives a voice by its name, whatever it is kept as."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.persona.spoken_voice import encode_recording, read_recording
from moshi_phone.engines.moshi.persona.voice import SpokenVoice, Voice, read_voice
from moshi_phone.engines.moshi.persona.voices import Voices

RECORDINGS_KEPT = 16  # a few kilobytes each


class VoiceLoader:
    """Loads voices, and remembers the tokens of recordings: encoding one takes half its length.

    Args:
        voices: finds their files.
        load_mimi: gives a clean codec for a recording.
    """

    def __init__(self, voices: Voices, load_mimi: Callable[[], Future[Mimi]]) -> None:
        self._voices = voices
        self._load_mimi = load_mimi
        self._recordings: OrderedDict[tuple[Path, int], SpokenVoice] = OrderedDict()

    def __call__(self, voice: str) -> Voice | None:
        """Give a voice; None for the model's own. Takes seconds for a recording.

        Raises:
            VoiceUnfit: when there is none, or it cannot be used.
        """
        if not voice:
            return None
        path = self._voices.find(voice)
        if path.suffix == ".pt":
            return read_voice(path)
        # Its tokens are the same for every call, and take seconds; a .pt is read in milliseconds.
        key = (path, path.stat().st_mtime_ns)  # a file that is written anew is another voice
        if key not in self._recordings:
            pcm = read_recording(path)
            self._recordings[key] = encode_recording(pcm, self._load_mimi().result())
            while len(self._recordings) > RECORDINGS_KEPT:
                self._recordings.popitem(last=False)
        return self._recordings[key]


def check_voice(path: Path) -> None:
    """Make sure that a voice's file can be used, without a model.

    Raises:
        VoiceUnfit: saying why not.
    """
    if path.suffix == ".pt":
        read_voice(path)
    else:
        read_recording(path)
