"""Who may answer a call from the browser: what is offered, and what was chosen."""

from __future__ import annotations

from fastapi import HTTPException

from moshi_phone.access.request_body import parse_json
from moshi_phone.engines.duplex import NO_REQUEST, CallRequest, RequestRefused
from moshi_phone.server.calls.state import ServerState

MAX_BODY_BYTES = 4 * 1024


def offers(state: ServerState) -> dict[str, list[str]]:
    """Name the personas and voices that a call may have; the words of a persona stay here."""
    takes = state.engine.takes
    return {
        "personas": state.personas.names if "persona" in takes else [],
        "voices": list(state.engine.voices) if "voice" in takes else [],
    }


def chosen(state: ServerState, body: bytes, content_type: str) -> CallRequest:
    """Understand what a page asks for, and have it made ready.

    Args:
        state: says what is offered.
        body: ``{"persona": NAME, "voice": NAME}``; either may be left out, and so may all of it.
        content_type: of the body.

    Raises:
        HTTPException: 415 or 422 where it asks for something else, 409 where the engine cannot.
    """
    if not body.strip():
        return NO_REQUEST
    asked = parse_json(body, content_type)
    if not isinstance(asked, dict) or not all(isinstance(value, str) for value in asked.values()):
        raise HTTPException(422, 'expected {"persona": "...", "voice": "..."}')
    offered = offers(state)
    for name, names in (("persona", offered["personas"]), ("voice", offered["voices"])):
        if asked.get(name) and asked[name] not in names:
            raise HTTPException(422, f"{name}: expected one of those that are offered")
    request = CallRequest(voice=asked.get("voice") or None)
    if asked.get("persona"):
        request = request.or_else(state.personas.chosen(asked["persona"]))
    try:
        state.engine.prepare(request)
    except RequestRefused as refusal:
        raise HTTPException(409, str(refusal)) from refusal
    return request
