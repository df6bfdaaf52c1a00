"""A caller that reacts to the bot: it asks, pauses, tells a story, interrupts, agrees and is silent.

Pure: heard audio in, spoken audio out, packet by packet. Each scene is a generator of packets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio import g711
from moshi_phone.conversation.segmenter import SpeechSegmenter
from moshi_phone.rehearse.caller_voice import CallerVoice, Clip, Kind
from moshi_phone.rehearse.record import PACKET_SAMPLES

PACKET_S = 0.020
SILENT_PACKET = bytes([g711.SILENCE]) * PACKET_SAMPLES
SILENCE_S = 20.0
MAX_CALL_S = 600.0
"""Limit of a rehearsed conversation, whatever the bot does."""

_BEGINS_S = 5.0  # an answer that has not started by then counts as missing
_GREETS_S = 3.0
_FINISHED_S = 0.9  # after this silence the bot has finished
_LISTENS_S = 20.0  # limit for one answer
_HAS_THE_TURN_S = 1.5  # after this much speech the bot can be interrupted
_AFTER_BACKCHANNEL_S = 1.5
_AFTER_ASIDE_S = 2.5
_THINKS_S = 0.4  # the caller's reaction time after the bot's last sound


@dataclass(frozen=True, slots=True)
class Scene:
    """A part of the call.

    Attributes:
        key: the kind of scene.
        begin_s: its begin, since the start of the call.
        end_s: its end.
        said_s: begin of the scene's key words; None if they were not spoken.
        said_until_s: end of those words.
    """

    key: str
    begin_s: float
    end_s: float
    said_s: float | None = None
    said_until_s: float | None = None


class ReactingCaller:
    """Plays all scenes of a rehearsal in order, with one voice.

    Args:
        voice: its clips.
        take: index of the first clip of each kind, so that the calls of a rehearsal differ.
        silence_s: length of the silent scene.
    """

    def __init__(self, voice: CallerVoice, take: int = 0, silence_s: float = SILENCE_S) -> None:
        self.voice = voice
        self.scenes: list[Scene] = []
        self._take = take
        self._used = dict[Kind, int]()  # clips used of each kind: all are used before one repeats
        self._silence_s = silence_s
        self._packets = 0  # of 20 ms: the caller's clock
        # Detects the bot's speech in the heard audio.
        self._bot = SpeechSegmenter()
        self._said: tuple[float, float] | None = None  # begin and end of the last clip
        # The script: each packet is the next item of this generator.
        self._play = self._play_all()

    def next_packet(self, heard: NDArray[np.int16]) -> bytes | None:
        """Return the next 20 ms, µ-law, or None at the end of the call.

        Args:
            heard: int16 ``[n]``, 8 kHz: the audio heard since the last packet.
        """
        self._bot.feed(heard)
        packet = next(self._play, None) if self._now_s < MAX_CALL_S else None
        if packet is not None:
            self._packets += 1
        return packet

    @property
    def _now_s(self) -> float:
        return self._packets * PACKET_S

    @property
    def _bot_speaks(self) -> bool:
        return self._bot.open_since_s is not None

    @property
    def _bot_silent_s(self) -> float:
        """Duration of the bot's current silence."""
        if self._bot_speaks:
            return 0.0
        return self._now_s - (self._bot.segments[-1].end_s if self._bot.segments else 0.0)

    def _bot_began_after(self, at_s: float) -> bool:
        spans = self._bot.spans
        return bool(spans) and spans[-1].end_s > at_s

    def _bot_has_spoken_s(self, at_s: float) -> float:
        """Return how long the bot has spoken since a time, including short pauses; 0 while it is silent."""
        spans = [span for span in self._bot.spans if span.end_s > at_s]
        return 0.0 if not spans or self._bot_silent_s > 0.3 else self._now_s - max(at_s, spans[0].begin_s)  # noqa: PLR2004

    def _play_all(self) -> Iterator[bytes]:
        yield from self._scene("greeting", self._greeting())
        yield from self._scene("question", self._question())
        for kind in ("pause", "story"):
            yield from self._scene(kind, self._tells(kind))
        for _ in range(2):
            yield from self._scene("interruption", self._interrupts())
        for _ in range(2):
            yield from self._scene("backchannel", self._agrees())
        yield from self._scene("aside", self._talks_aside())
        yield from self._scene("silence", self._keeps_silent())
        yield from self._scene("question", self._question())

    def _scene(self, key: str, play: Iterator[bytes]) -> Iterator[bytes]:
        begin_s, self._said = self._now_s, None
        yield from play
        said = self._said or (None, None)
        self.scenes.append(Scene(key, begin_s, self._now_s, *said))

    def _greeting(self) -> Iterator[bytes]:
        yield from self._wait(lambda: self._bot_began_after(0.0), _GREETS_S)
        yield from self._listen()

    def _question(self) -> Iterator[bytes]:
        yield from self._say("question")
        yield from self._hear_answer()

    def _tells(self, kind: Kind) -> Iterator[bytes]:
        if self.voice.of(kind):
            yield from self._say(kind)
            yield from self._hear_answer()

    def _interrupts(self) -> Iterator[bytes]:
        if self.voice.of("interruption"):
            yield from self._into_the_answer("interruption")
            yield from self._hear_answer()

    def _agrees(self) -> Iterator[bytes]:
        if self.voice.of("backchannel"):
            yield from self._into_the_answer("backchannel")
            if self._said:
                yield from self._wait(lambda: False, _AFTER_BACKCHANNEL_S)
            yield from self._listen()

    def _into_the_answer(self, kind: Kind) -> Iterator[bytes]:
        """Ask for a long answer, and play a clip once the bot is well into it."""
        yield from self._say("open" if self.voice.of("open") else "question")
        asked_s, self._said = self._now_s, None
        yield from self._wait(lambda: self._bot_began_after(asked_s), _BEGINS_S)
        yield from self._wait(
            lambda: self._bot_has_spoken_s(asked_s) >= _HAS_THE_TURN_S or self._bot_silent_s > _FINISHED_S,
            _LISTENS_S,
        )
        if self._bot_has_spoken_s(asked_s) >= _HAS_THE_TURN_S:
            yield from self._say(kind)

    def _talks_aside(self) -> Iterator[bytes]:
        if self.voice.of("aside"):
            yield from self._wait(lambda: self._bot_silent_s > 1.0, _LISTENS_S)
            yield from self._say("aside")
            yield from self._wait(lambda: False, _AFTER_ASIDE_S)
            yield from self._listen()

    def _keeps_silent(self) -> Iterator[bytes]:
        self._said = self._now_s, self._now_s + self._silence_s
        yield from self._wait(lambda: False, self._silence_s)

    def _hear_answer(self) -> Iterator[bytes]:
        asked_s = self._now_s
        yield from self._wait(lambda: self._bot_began_after(asked_s), _BEGINS_S)
        yield from self._listen()

    def _listen(self) -> Iterator[bytes]:
        yield from self._wait(lambda: self._bot_silent_s >= _FINISHED_S, _LISTENS_S)
        yield from self._wait(lambda: False, _THINKS_S)

    def _say(self, kind: Kind) -> Iterator[bytes]:
        clip = self._next_clip(kind)
        begin_s = self._now_s
        for at in range(0, len(clip.mulaw), PACKET_SAMPLES):
            yield clip.mulaw[at : at + PACKET_SAMPLES]
        self._said = begin_s, self._now_s

    def _next_clip(self, kind: Kind) -> Clip:
        clips = self.voice.of(kind)
        used = self._used.get(kind, 0)
        self._used[kind] = used + 1
        return clips[(self._take + used) % len(clips)]

    def _wait(self, until: Callable[[], bool], at_most_s: float) -> Iterator[bytes]:
        end_s = self._now_s + at_most_s
        while not until() and self._now_s < end_s:
            yield SILENT_PACKET
