"""``--on-call``: the hook's decision on an incoming call."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides
from moshi_phone.hooks.events import call_event
from moshi_phone.hooks.http import Hook, HookFailed
from moshi_phone.telephony.e164 import BadNumber, parse_number
from moshi_phone.telephony.incoming_call import IncomingCall

_TEXTS = {"persona": 20_000, "voice": 200, "greeting": 2_000}
"""Text fields of an answer, with their maximum length in characters."""
_KNOWN = {*_TEXTS, "accept", "instead", "temperature", "transfer_to"}
_INSTEAD = ("busy", "say", "transfer_to", "message")
_MAX_SAID = 1_000  # characters
_HOTTEST = 2.0


@dataclass(frozen=True)
class Instead:
    """The treatment of a rejected call; all None for the busy tone.

    Attributes:
        say: words, in Twilio's voice.
        transfer_to: another phone, E.164.
        message: words before the tone; the caller then leaves a message.
    """

    say: str | None = None
    transfer_to: str | None = field(default=None, repr=False)
    message: str | None = None


@dataclass(frozen=True)
class HookAnswer:
    """The hook's decision.

    Attributes:
        accept: whether the call is accepted.
        instead: the treatment of a rejected call; None announces that the number is not in service.
        request: the call's settings for the engine.
        transfer_to: target of this call's transfer, E.164; None for ``--transfer-to``.
    """

    accept: bool = True
    request: CallOverrides = NO_OVERRIDES
    transfer_to: str | None = field(default=None, repr=False)
    instead: Instead | None = None


async def ask(hook: Hook, call: IncomingCall) -> HookAnswer:
    """Ask the hook about a call.

    Raises:
        HookFailed: when its response is late, or not in the format of docs/hooks.md.
    """
    return read_answer(await hook.post(call_event(call)))


def read_answer(body: bytes) -> HookAnswer:
    """Parse a hook's answer; an empty one accepts the call unchanged.

    Raises:
        HookFailed: states the expected and the actual form, without the response's text.
    """
    if not body.strip():
        return HookAnswer()
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HookFailed("expected JSON, got something else") from error
    if not isinstance(said, dict):
        raise HookFailed(f"expected a JSON object, got {type(said).__name__}")
    # Unknown fields are errors: with accept misspelled, a call would be accepted that the hook rejects.
    if strange := sorted(said.keys() - _KNOWN):
        raise HookFailed(f"expected {', '.join(sorted(_KNOWN))}, got {strange[0][:40]!r}")
    accept = said.get("accept", True)
    if not isinstance(accept, bool):
        raise HookFailed(f"expected accept to be true or false, got {type(accept).__name__}")
    instead = _instead(said.get("instead"))
    if accept and instead is not None:
        raise HookFailed('expected instead beside "accept": false only')
    # Bounded, because these texts go into memory and prompts.
    words = {name: _text(said.get(name), name, most) for name, most in _TEXTS.items()}
    return HookAnswer(
        accept,
        CallOverrides(**words, temperature=_temperature(said.get("temperature"))),
        _number(said.get("transfer_to")),
        instead,
    )


def _instead(value: object) -> Instead | None:
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= {*_INSTEAD}:
        raise HookFailed(f"expected instead to be an object with one of {', '.join(_INSTEAD)}")
    [(kind, what)] = value.items()
    if kind == "busy":
        if what is not True:
            raise HookFailed("expected busy of instead to be true")
        return Instead()
    if kind == "transfer_to":
        return Instead(transfer_to=_number(what, "transfer_to of instead"))
    text = _text(what, f"{kind} of instead", _MAX_SAID)
    if text is None:
        raise HookFailed(f"expected {kind} of instead to be text, got none")
    return Instead(say=text) if kind == "say" else Instead(message=text)


def _text(value: object, name: str, most: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise HookFailed(f"expected {name} to be text, got {type(value).__name__}")
    if len(value) > most:
        raise HookFailed(f"expected at most {most} characters of {name}, got {len(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell half a character, which no tokenizer takes
        raise HookFailed(f"expected {name} to be text, got half a surrogate pair") from error
    return value or None


def _temperature(value: object) -> float | None:
    if value is None:
        return None
    # True is an int to Python.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _HOTTEST:
        raise HookFailed(f"expected temperature to be a number from 0 to {_HOTTEST:g}")
    return float(value)


def _number(value: object, name: str = "transfer_to") -> str | None:
    if value is None:
        return None
    try:
        return parse_number(value if isinstance(value, str) else "")
    except BadNumber as error:
        raise HookFailed(f"expected {name} to be a number such as +15551234567") from error
