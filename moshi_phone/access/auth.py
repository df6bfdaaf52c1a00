"""Access control for streams and webhooks: admits each, or says why not."""

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
    """Admits the streams that we authorised, and no others.

    With an auth token, each stream must carry a token of ours, wherever it comes from, and each webhook
    must be signed by Twilio. Without one, only programs on this machine may open streams.

    Attributes:
        tokens: makes and accepts the tokens of streams.
        signatures: checks what Twilio signed; None without an auth token.
        address: the public URL, which is what Twilio signs.
        insecure: admits everybody, where there is no auth token.
        clock: gives Unix seconds.
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
        """Make the access control for an account's auth token, or for none.

        Args:
            auth_token: of the Twilio account; None where there is none.
            address: the public URL, which may become known later.
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
            custom_parameters: of the same message; they carry the token.
            headers: of its handshake.
            peer: the IP address that it comes from, as far as that is known.

        Raises:
            StreamRefused: saying why, without the token.
        """
        # First, because it spends nothing: a wrong signature must not use up a caller's token.
        self._check_handshake(headers.get(HEADER))
        token = custom_parameters.get(PARAMETER)
        try:
            # A token that is shown counts also without an auth token: the browser phone's pages have one.
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
        """Make sure that a webhook comes from Twilio.

        Args:
            url: the public URL that is configured at Twilio, or None while there is none.
            form: the body.
            signature: the header, or None where it is missing.

        Raises:
            WebhookRefused: when it does not, or that cannot be known.
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
            return  # the token decides; a signature is a further check where there is one to check
        if not self.signatures.signs_handshake(url, signature):
            raise StreamRefused(
                RefusalCause.SIGNATURE,
                "the handshake's signature is not Twilio's for this URL",
            )


def _without_query(url: str) -> str:
    return url.partition("?")[0]  # a stranger may have written it, at any length


def _check_local(headers: Headers, peer: str | None) -> None:
    if peer is None or not is_loopback(peer):
        raise StreamRefused(
            RefusalCause.REMOTE,
            "without TWILIO_AUTH_TOKEN only this machine may open streams, got one from another machine",
        )
    if forwarded := next((name for name in _FORWARDED if name in headers), None):
        # A tunnel or a proxy on this machine looks local, and brings callers from anywhere.
        raise StreamRefused(
            RefusalCause.REMOTE,
            f"without TWILIO_AUTH_TOKEN only this machine may open streams, got one with {forwarded}",
        )
    if "origin" in headers:
        # Any page in a browser on this machine can open a WebSocket here, and says so by this header.
        raise StreamRefused(RefusalCause.ORIGIN, "a web page opened the stream without a token")
