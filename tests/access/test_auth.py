"""access/auth.py: which streams and webhooks are admitted, and which are refused."""

from __future__ import annotations

import pytest
from starlette.datastructures import FormData, Headers
from twilio.request_validator import RequestValidator

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.access.refusal import POLICY_VIOLATION, StreamRefused, WebhookRefused
from moshi_phone.access.tokens import ANY_CALL, PARAMETER

AUTH_TOKEN = "f" * 32
CALL = "CA" + "1" * 32
NOW = 1_800_000_000.0
HERE, ELSEWHERE = "127.0.0.1", "203.0.113.7"
PUBLIC = "https://phone.example.com"

Shown = tuple[str, dict[str, str]]


def guarded() -> StreamAuth:
    auth = StreamAuth.for_account(AUTH_TOKEN, PublicAddress(PUBLIC))
    auth.clock = lambda: NOW
    return auth


def start(token: str | None = None, call_sid: str = CALL) -> Shown:
    """What a stream presents: the call's SID and the custom parameters."""
    return call_sid, {PARAMETER: token} if token else {}


def refusal(auth: StreamAuth, message: Shown, peer: str | None = HERE, **headers: str) -> StreamRefused:
    with pytest.raises(StreamRefused) as refused:
        auth.admit(*message, Headers(headers), peer)
    assert refused.value.code == POLICY_VIOLATION
    return refused.value


@pytest.mark.parametrize("call", [CALL, ANY_CALL])
@pytest.mark.parametrize("peer", [HERE, ELSEWHERE, None])
def test_a_token_admits_one_stream_from_any_address(call: str, peer: str | None) -> None:
    auth = guarded()
    message = start(auth.tokens.mint(call, NOW))
    auth.admit(*message, Headers(), peer)
    assert refusal(auth, message, peer).refusal.cause == "token_reused"


@pytest.mark.parametrize("peer", [HERE, ELSEWHERE])
def test_with_an_auth_token_a_stream_needs_a_token(peer: str) -> None:
    assert str(refusal(guarded(), start(), peer)) == "the stream shows no token"


@pytest.mark.parametrize("insecure", [True, False])
def test_insecure_has_no_effect_with_an_auth_token(insecure: bool) -> None:
    assert (
        refusal(StreamAuth.for_account(AUTH_TOKEN, insecure=insecure), start()).refusal.cause
        == "token_missing"
    )


def test_a_handshake_s_signature_is_checked_as_well() -> None:
    auth = guarded()
    right = str(RequestValidator(AUTH_TOKEN).compute_signature("wss://phone.example.com/stream", {}))
    auth.admit(*start(auth.tokens.mint(CALL, NOW)), Headers({"x-twilio-signature": right}), ELSEWHERE)
    message = start(auth.tokens.mint(CALL, NOW))
    wrong = refusal(auth, message, ELSEWHERE, **{"x-twilio-signature": "d3Jvbmc="})
    assert wrong.refusal.cause == "signature"
    auth.admit(*message, Headers(), ELSEWHERE)  # the token was not used up by that
    assert refusal(auth, start(), ELSEWHERE, **{"x-twilio-signature": right}).refusal.cause == "token_missing"


def test_without_a_public_url_a_handshakes_signature_cannot_be_checked() -> None:
    auth = guarded()
    auth.address.base = None
    auth.admit(*start(auth.tokens.mint(CALL, NOW)), Headers({"x-twilio-signature": "x"}), ELSEWHERE)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_without_an_auth_token_this_machine_is_admitted(peer: str) -> None:
    StreamAuth().admit(*start(), Headers(), peer)


@pytest.mark.parametrize("peer", ["203.0.113.7", "192.168.1.2", "::2", "::ffff:10.0.0.1", "testclient", None])
def test_without_an_auth_token_other_machines_are_refused(peer: str | None) -> None:
    assert "only this machine may open streams" in str(refusal(StreamAuth(), start(), peer))


@pytest.mark.parametrize("header", ["cf-connecting-ip", "forwarded", "x-forwarded-for"])
def test_without_an_auth_token_a_tunnel_on_this_machine_is_refused(header: str) -> None:
    with pytest.raises(StreamRefused, match=f"only this machine may open streams, got one with {header}"):
        StreamAuth().admit(*start(), Headers({header: "203.0.113.9"}), "127.0.0.1")


def test_without_an_auth_token_a_web_page_needs_a_token() -> None:
    auth = StreamAuth()
    page = {"origin": "http://evil.example.com"}
    assert "a web page opened the stream" in str(refusal(auth, start(), HERE, **page))
    auth.admit(*start(auth.tokens.mint(CALL, auth.clock())), Headers(page), HERE)


def test_without_an_auth_token_a_wrong_token_is_still_wrong() -> None:
    assert refusal(StreamAuth(insecure=True), start("forged")).refusal.cause == "token_invalid"


def test_insecure_admits_everybody() -> None:
    StreamAuth(insecure=True).admit(*start(), Headers({"origin": "http://evil.example.com"}), ELSEWHERE)


@pytest.mark.parametrize(
    ("auth", "url", "signature", "cause", "words"),
    [
        (StreamAuth(), PUBLIC, None, "no_auth_token", "there is no TWILIO_AUTH_TOKEN"),
        (guarded(), None, "x", "no_public_url", "there is no public URL to check its signature with"),
        (guarded(), PUBLIC, None, "unsigned", "it has no signature"),
        (guarded(), f"{PUBLIC}?secret=1", "x", "signature", f"not Twilio's for {PUBLIC} and"),
    ],
)
def test_why_a_webhook_is_refused(
    auth: StreamAuth, url: str | None, signature: str | None, cause: str, words: str
) -> None:
    with pytest.raises(WebhookRefused, match=words) as refused:
        auth.verify_webhook(url, FormData({"a": "b"}), signature)
    assert refused.value.refusal.cause == cause


def test_an_insecure_server_accepts_any_webhook() -> None:
    StreamAuth(insecure=True).verify_webhook(None, FormData(), None)
