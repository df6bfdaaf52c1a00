"""Access control for streams and webhooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.datastructures import FormData, Headers

from moshi_phone.access.public_address import STREAM_PATH, PublicAddress
from moshi_phone.access.refusal import RefusalCause, StreamRefused, WebhookRefused
from moshi_phone.access.signatures import HEADER, Signatures
from moshi_phone.access.source import is_loopback
from moshi_phone.access.tokens import (
    PARAMETER,
    PERSONA_PARAMETER,
    VOICE_PARAMETER,
    StreamTokens,
    TokenRefused,
    overrides_digest_input,
)

_FORWARDED = ("cf-connecting-ip", "forwarded", "x-forwarded-for")


@dataclass
class StreamAuth:
    """Admits only streams that we have authorised.

    With an auth token, each stream needs a token of ours, wherever it comes from, and each webhook needs
    Twilio's signature. Without one, only programs on this machine may open streams.

    Attributes:
        tokens: mints and verifies the tokens of streams.
        signatures: verifies Twilio's signatures; None without an auth token.
        address: the public URL, which Twilio signs.
        insecure: whether to admit everybody if there is no auth token.
        clock: returns Unix seconds.
    """

    tokens: StreamTokens = field(default_factory=lambda: StreamTokens.from_auth_token(None))
    signatures: Signatures | None = None
    address: PublicAddress = field(default_factory=PublicAddress)
    insecure: bool = False
    clock: Callable[[], float] = time.time

    @classmethod
    def for_account(
        cls, auth_token: str | None, address: PublicAddress | None = None, *, insecure: bool = False
    ) -> StreamAuth:
        """Create the access control for an account's auth token, or for none.

        Args:
            auth_token: of the Twilio account; None without one.
            address: the public URL, which may be set later.
            insecure: without an auth token, admit everybody.
        """
        return cls(
            StreamTokens.from_auth_token(auth_token),
            Signatures(auth_token) if auth_token else None,
            address or PublicAddress(),
            insecure,
        )

    def admit(
        self, call_sid: str, custom_parameters: Mapping[str, str], headers: Headers, peer: str | None
    ) -> None:
        """Admit a stream, or raise. Its token is spent.

        Args:
            call_sid: of the stream's ``start`` message.
            custom_parameters: of the same message; they contain the token.
            headers: of its handshake.
            peer: IP address of the peer, if known.

        Raises:
            StreamRefused: with the reason, without the token.
        """
        # First, since it spends nothing: a wrong signature must not use up a caller's token.
        self._check_handshake(headers.get(HEADER))
        token = custom_parameters.get(PARAMETER)
        try:
            # A presented token is verified even without an auth token: the browser phone uses tokens.
            if self.signatures or token:
                requested = overrides_digest_input(
                    custom_parameters.get(PERSONA_PARAMETER, ""), custom_parameters.get(VOICE_PARAMETER, "")
                )
                self.tokens.spend(token, call_sid, self.clock(), bound_to=requested)
            elif not self.insecure:
                _check_local(headers, peer)
        except TokenRefused as refusal:
            raise StreamRefused(refusal.cause, str(refusal)) from refusal

    def verify_webhook(self, url: str | None, form: FormData, signature: str | None) -> None:
        """Verify that a webhook comes from Twilio.

        Args:
            url: the public URL configured at Twilio, or None without one.
            form: the body.
            signature: the header, or None if absent.

        Raises:
            WebhookRefused: if it does not, or cannot be verified.
        """
        if self.signatures is None:
            if not self.insecure:
                raise WebhookRefused(
                    RefusalCause.NO_AUTH_TOKEN, "there is no TWILIO_AUTH_TOKEN to check its signature with"
                )
            return
        if url is None:
            raise WebhookRefused(
                RefusalCause.NO_PUBLIC_URL,
                "there is no public URL to check its signature with: start with --public-url or --tunnel",
            )
        if signature is None:
            raise WebhookRefused(RefusalCause.UNSIGNED, "it has no signature")
        if not self.signatures.signs_webhook(url, form, signature):
            raise WebhookRefused(
                RefusalCause.SIGNATURE,
                f"its signature is not Twilio's for {_without_query(url)} and this auth token",
            )

    def _check_handshake(self, signature: str | None) -> None:
        url = self.address.wss(STREAM_PATH)
        if self.signatures is None or signature is None or url is None:
            return  # the token decides; a signature is an additional check
        if not self.signatures.signs_handshake(url, signature):
            raise StreamRefused(
                RefusalCause.SIGNATURE,
                "the handshake's signature is not Twilio's for this URL",
            )


def _without_query(url: str) -> str:
    return url.partition("?")[0]  # it may be forged, and of any length


def _check_local(headers: Headers, peer: str | None) -> None:
    if peer is None or not is_loopback(peer):
        raise StreamRefused(
            RefusalCause.REMOTE,
            "without TWILIO_AUTH_TOKEN only this machine may open streams, got one from another machine",
        )
    if forwarded := next((name for name in _FORWARDED if name in headers), None):
        # A tunnel or proxy on this machine connects locally, with callers from anywhere.
        raise StreamRefused(
            RefusalCause.REMOTE,
            f"without TWILIO_AUTH_TOKEN only this machine may open streams, got one with {forwarded}",
        )
    if "origin" in headers:
        # Browsers send this header: any web page open on this machine can open a WebSocket here.
        raise StreamRefused(RefusalCause.ORIGIN, "a web page opened the stream without a token")
