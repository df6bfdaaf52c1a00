"""Remedies for failed points of the checklist, by the point's key."""

from __future__ import annotations

_SPEED = (
    "Is the machine too slow, or busy with something else? `bench` says how long each stage takes; try fewer "
    "--calls, or with Moshi --quantize 4."
)
ADVICE = {
    "ready": "The server's log says what it is waiting for; `doctor` checks the setup.",
    "accepted": "docs/access.md explains each cause of a refusal; a pipeline's error is in the lines above.",
    "protocol": "Something between the server and here changes its messages: try the server's own address.",
    "first_audio": _SPEED,
    "own_voice": "Take <Say> and <Play> out of the TwiML: the caller waits while they speak.",
    "duplex": "A stage waits for the caller to end: leave out voice activity detection and turn taking.",
    "delay": f"{_SPEED} A server elsewhere adds its own way; the lines below say how much.",
    "drift": "Audio piles up: a stage is slower than real time, or PlayoutGovernor() is missing in the list.",
    "gaps": f"{_SPEED} On a network with jitter, raise --playout-lead-ms of `serve`.",
    "keeps_up": _SPEED,
    "quality": "A stage changes the sound: compare with --pipeline pipelines.line_mirror:line_mirror.",
    "clean_end": "Something holds the call's end: the server's log has the last lines of the call.",
    "session_free": "The session was not given back: the server's log says what of the call still runs.",
}
"""One sentence or two for each point of ``checks.check``."""
