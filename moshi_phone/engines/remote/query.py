"""What a call sets of a server: the query of its URL, and whether the model opens the talk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlencode

from moshi_phone.engines.duplex import CallOverrides, EngineUnavailable
from moshi_phone.engines.remote.server import MAX_QUERY_BYTES
from moshi_phone.engines.remote.server_profile import ServerProfile
from moshi_phone.engines.voices import PERSONAPLEX_PERSONA, PERSONAPLEX_VOICE, PERSONAPLEX_VOICES

Greeting = Literal["speech", "silence", "none"]


@dataclass(frozen=True)
class RemoteCallSetting:
    """What is wished for; servers differ in what of it they can do.

    Attributes:
        persona: who the model is to be; empty for nobody in particular.
        voice: of PersonaPlex's; empty for the default one.
        greeting: whether the model is to speak first.
        greeting_words: what it is to say then, in these words; empty leaves them to it.
        sampling: temperatures and the like, by our options' names.
        seed: None for a new one each time.
    """

    persona: str = ""
    voice: str = ""
    greeting: Greeting = "speech"
    greeting_words: str = ""
    sampling: tuple[tuple[str, float], ...] = ()
    seed: int | None = None

    def with_request(self, request: CallOverrides) -> RemoteCallSetting:
        """Give the wish of a call that asks for something of its own."""
        sampling = dict(self.sampling)
        if request.temperature is not None:
            sampling |= {"text_temperature": request.temperature, "audio_temperature": request.temperature}
        return replace(
            self,
            persona=request.persona or self.persona,
            voice=request.voice or self.voice,
            greeting="speech" if request.greeting else self.greeting,
            greeting_words=request.greeting or self.greeting_words,
            sampling=tuple(sampling.items()),
        )


def supported_overrides(dialect: ServerProfile) -> frozenset[str]:
    """Say which fields of a ``CallOverrides`` this kind of server can fulfil."""
    by_prompt = frozenset({"persona", "voice", "greeting"}) if dialect.prompts else frozenset[str]()
    return by_prompt | (frozenset({"temperature"}) if "text_temperature" in dialect.sampling else frozenset())


def make_query(wish: RemoteCallSetting, dialect: ServerProfile) -> dict[str, str]:
    """Put what this kind of server understands of a wish into a query.

    Raises:
        EngineUnavailable: when the persona is too long or the voice is none of the server's.
    """
    wanted = dict(wish.sampling)
    query = {
        name: f"{wanted[ours]:g}"
        for ours, name in dialect.sampling.items()
        # To our options 0 means all tokens; a server's own default is nearest to that.
        if ours in wanted and not (ours.endswith("top_k") and wanted[ours] == 0)
    }
    if wish.seed is not None:
        query |= dict.fromkeys(dialect.seeds, str(wish.seed))
    if dialect.prompts:
        persona = " ".join(wish.persona.split()) or PERSONAPLEX_PERSONA
        if wish.greeting == "speech":
            persona = f"{persona} {_greets(wish.greeting_words)}"
        query |= {
            "text_prompt": persona,
            "voice_prompt": f"{check_voice(wish.voice or PERSONAPLEX_VOICE)}.pt",
        }
    if len(urlencode(query)) > MAX_QUERY_BYTES:
        raise EngineUnavailable(
            f"The persona is too long for {dialect.title}: expected at most {MAX_QUERY_BYTES} bytes in its "
            f"URL, got {len(urlencode(query))}."
        )
    return query


def _greets(words: str) -> str:
    if not words:
        return "You speak first and greet the caller."
    return f'You speak first and say: "{" ".join(words.split())}"'


def check_voice(name: str) -> str:
    """Give a voice's name back if PersonaPlex's server has it; it would load any file that it is told.

    Raises:
        EngineUnavailable: when it has not.
    """
    if name not in PERSONAPLEX_VOICES:
        raise EngineUnavailable(
            f"PersonaPlex's server has no voice {name[:40]!r}; expected one of "
            f"{', '.join(PERSONAPLEX_VOICES)}."
        )
    return name


def cannot(wish: RemoteCallSetting, dialect: ServerProfile) -> list[str]:
    """Say in one sentence each what of a wish this kind of server cannot do."""
    lines = list[str]()
    if wish.greeting == "silence":
        lines.append(f"{dialect.title} cannot be kept silent: --greeting silence does nothing there.")
    if wish.persona and not dialect.prompts:
        lines.append(f"{dialect.title} takes no persona: --persona does nothing there.")
    if wish.voice and not dialect.prompts:
        lines.append(f"{dialect.title} has the voice of its own model: --voice does nothing there.")
    if wish.greeting_words and not dialect.prompts:
        lines.append(f"{dialect.title} says no given words: it greets with words of its own.")
    return lines


def silent_frames(wish: RemoteCallSetting, dialect: ServerProfile, greeting_frames: int) -> int:
    """Say for how many frames the model hears silence, so that it speaks first.

    Where a prompt says that it does, the caller is heard from the first frame on.

    Args:
        wish: whether it is to speak first.
        dialect: of the server.
        greeting_frames: of 80 ms, for how long where it is.
    """
    return greeting_frames if wish.greeting == "speech" and not dialect.prompts else 0
