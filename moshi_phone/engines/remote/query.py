"""A call's settings for a server: the query of its URL, and whether the model speaks first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import urlencode

from moshi_phone.engines.duplex import CallOverrides, EngineUnavailable
from moshi_phone.engines.remote.server import MAX_QUERY_BYTES
from moshi_phone.engines.remote.server_profile import ServerProfile
from moshi_phone.engines.voices import PERSONAPLEX_PERSONA, PERSONAPLEX_VOICE, PERSONAPLEX_VOICES

Greeting = Literal["speech", "silence", "none"]


@dataclass(frozen=True)
class RemoteCallSettings:
    """A call's settings for its server. Servers differ in what they support.

    Attributes:
        persona: the role of the model, in words; empty for none.
        voice: name of a PersonaPlex voice; empty for the default one.
        greeting: whether the model speaks first.
        greeting_words: the words of the greeting; empty leaves them to the model.
        sampling: temperatures and top-k, by our options' names.
        seed: None for a new one each time.
    """

    persona: str = ""
    voice: str = ""
    greeting: Greeting = "speech"
    greeting_words: str = ""
    sampling: tuple[tuple[str, float], ...] = ()
    seed: int | None = None

    def with_request(self, request: CallOverrides) -> RemoteCallSettings:
        """Return the settings of a call that overrides some of them."""
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


@dataclass(frozen=True)
class CallSettings:
    """One call's settings of its server.

    Attributes:
        query: query of the chat's URL.
        silent_frames: number of first frames replaced by silence, so that the model speaks first.
        limit_frames: number of frames after which the server ends the call; None for no limit.
    """

    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    silent_frames: int = 0
    limit_frames: int | None = None


def supported_overrides(profile: ServerProfile) -> frozenset[str]:
    """Return the fields of ``CallOverrides`` that this kind of server supports."""
    by_prompt = frozenset({"persona", "voice", "greeting"}) if profile.prompts else frozenset[str]()
    return by_prompt | (frozenset({"temperature"}) if "text_temperature" in profile.sampling else frozenset())


def make_query(requested: RemoteCallSettings, profile: ServerProfile) -> dict[str, str]:
    """Return the query with the settings that the server supports.

    Raises:
        EngineUnavailable: when the persona is too long or the server does not have the voice.
    """
    wanted = dict(requested.sampling)
    query = {
        name: f"{wanted[ours]:g}"
        for ours, name in profile.sampling.items()
        # In our options, 0 means all tokens; a server's own default is closest to that.
        if ours in wanted and not (ours.endswith("top_k") and wanted[ours] == 0)
    }
    if requested.seed is not None:
        query |= dict.fromkeys(profile.seeds, str(requested.seed))
    if profile.prompts:
        persona = " ".join(requested.persona.split()) or PERSONAPLEX_PERSONA
        if requested.greeting == "speech":
            persona = f"{persona} {_greets(requested.greeting_words)}"
        query |= {
            "text_prompt": persona,
            "voice_prompt": f"{check_voice(requested.voice or PERSONAPLEX_VOICE)}.pt",
        }
    if len(urlencode(query)) > MAX_QUERY_BYTES:
        raise EngineUnavailable(
            f"The persona is too long for {profile.title}: expected at most {MAX_QUERY_BYTES} bytes in its "
            f"URL, got {len(urlencode(query))}."
        )
    return query


def _greets(words: str) -> str:
    if not words:
        return "You speak first and greet the caller."
    return f'You speak first and say: "{" ".join(words.split())}"'


def check_voice(name: str) -> str:
    """Return a voice's name if PersonaPlex's server has it. Unchecked, the server would load any file.

    Raises:
        EngineUnavailable: when there is no such voice.
    """
    if name not in PERSONAPLEX_VOICES:
        raise EngineUnavailable(
            f"PersonaPlex's server has no voice {name[:40]!r}; expected one of "
            f"{', '.join(PERSONAPLEX_VOICES)}."
        )
    return name


def unsupported_settings(requested: RemoteCallSettings, profile: ServerProfile) -> list[str]:
    """Return one sentence for each setting that this kind of server ignores."""
    lines = list[str]()
    if requested.greeting == "silence":
        lines.append(f"{profile.title} always speaks: --greeting silence has no effect there.")
    if requested.persona and not profile.prompts:
        lines.append(f"{profile.title} takes no persona: --persona has no effect there.")
    if requested.voice and not profile.prompts:
        lines.append(f"{profile.title} has the voice of its own model: --voice has no effect there.")
    if requested.greeting_words and not profile.prompts:
        lines.append(f"{profile.title} cannot say given words: it greets with its own.")
    return lines


def silent_frames(requested: RemoteCallSettings, profile: ServerProfile, greeting_frames: int) -> int:
    """Return the number of silent frames that make the model speak first.

    A server with prompts speaks first because of the prompt; the number is 0.

    Args:
        requested: whether it should speak first.
        profile: the server's profile.
        greeting_frames: number of frames of 80 ms, for servers without prompts.
    """
    return greeting_frames if requested.greeting == "speech" and not profile.prompts else 0
