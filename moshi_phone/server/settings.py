"""All settings of a command that answers calls, and their validation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.access.exposure import check_exposure
from moshi_phone.access.options import WebOptions
from moshi_phone.access.public_address import PublicAddress, parse_public_url
from moshi_phone.engines.options import EngineOptions
from moshi_phone.hooks.options import HookOptions, check_hooks
from moshi_phone.records.call_database import check_database
from moshi_phone.records.options import TapOptions
from moshi_phone.records.private_files import make_directories
from moshi_phone.runtime.errors import UserError
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.options import ServerOptions
from moshi_phone.telephony.credentials import check_credentials
from moshi_phone.telephony.e164 import BadNumber, parse_number
from moshi_phone.telephony.options import ReachOptions, TwilioOptions
from moshi_phone.telephony.rest import TwilioApi
from pipelines.choose import choose_pipeline, parse_options
from processors.phrase_trigger import words_of

_TUNNEL_HOSTS = ("127.0.0.1", "localhost", "0.0.0.0")  # noqa: S104 - all include 127.0.0.1


class SettingsError(UserError):
    """The options conflict, or one is missing. The text is one sentence that names the remedy."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All options of a server, one dataclass for each area; ``--help`` lists them in this order."""

    twilio: TwilioOptions = field(default_factory=TwilioOptions)
    reach: ReachOptions = field(default_factory=ReachOptions)
    engine: EngineOptions = field(default_factory=EngineOptions)
    server: ServerOptions = field(default_factory=ServerOptions)
    web: WebOptions = field(default_factory=WebOptions)
    taps: TapOptions = field(default_factory=TapOptions)
    calls: CallOptions = field(default_factory=CallOptions)
    hooks: HookOptions = field(default_factory=HookOptions)

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """Values that must never appear in a log; None for an unset one."""
        return (
            self.twilio.auth_token,
            self.web.web_password,
            self.engine.remote.server_token,
            self.hooks.hook_secret,
        )

    @property
    def is_public(self) -> bool:
        """Whether there will be a public URL."""
        return bool(self.reach.tunnel or self.reach.public_url)

    def check(self) -> None:
        """Check, before anything is started, that the options go together.

        Raises:
            BadCredential, BadPublicUrl, DashboardUnusable, DatabaseUnusable, DirectoryUnusable, Exposed,
                PluginUnfit, SettingsError: one sentence that names the remedy.
        """
        self.address()
        if self.stream_address() and not self.reach.public_url:
            raise SettingsError("--stream-url (MOSHI_STREAM_URL) needs --public-url, for webhooks.")
        check_credentials(self.twilio.account_sid, self.twilio.auth_token)
        if self.reach.public_url and self.reach.tunnel:
            raise SettingsError(
                "--tunnel creates a public URL; leave out either --tunnel or --public-url (PUBLIC_URL)."
            )
        if self.reach.tunnel and self.server.host not in _TUNNEL_HOSTS:
            raise SettingsError(f"--tunnel leads to 127.0.0.1; leave out --host {self.server.host}.")
        check_exposure(
            host=self.server.host,
            public_url=self.reach.public_url,
            tunnel=self.reach.tunnel,
            auth_token=self.twilio.auth_token,
            insecure=self.reach.insecure,
        )
        choose_pipeline(self.server.pipeline)
        parse_options(self.server.pipeline_option)
        DashboardAuth(self.web).check_options()
        check_hooks(self.hooks)
        self._check_calls()
        if self.taps.review and not self.taps.record:
            raise SettingsError("--review needs --record DIR, whose recordings it judges.")
        make_directories(self.taps)
        if self.taps.calls_db:
            check_database(self.taps.calls_db)

    def _check_calls(self) -> None:
        calls = self.calls
        for number, option in ((calls.transfer_to, "--transfer-to"), (calls.fallback_to, "--fallback-to")):
            if number:
                try:
                    parse_number(number)
                except BadNumber as error:
                    raise SettingsError(f"{option}: {error}.") from error
        if (calls.transfer_key or calls.transfer_phrase) and not (calls.transfer_to or self.hooks.on_call):
            raise SettingsError("--transfer-key and --transfer-phrase need --transfer-to, or --on-call.")
        if (calls.transfer_phrase or calls.hangup_phrase) and not self.engine.listens:
            raise SettingsError("--transfer-phrase and --hangup-phrase need --listen, which hears words.")
        if calls.transfer_key and calls.transfer_key == self.server.hangup_key:
            raise SettingsError(
                f"--transfer-key and --hangup-key are both {calls.transfer_key}; choose another key."
            )
        others = {"--transfer-key": calls.transfer_key, "--hangup-key": self.server.hangup_key}
        for option, key in others.items():
            if key and key == self.taps.record_optout_key:
                raise SettingsError(f"--record-optout-key and {option} are both {key}; choose another key.")
        for option, phrases in (
            ("--transfer-phrase", calls.transfer_phrase),
            ("--hangup-phrase", calls.hangup_phrase),
        ):
            if nothing := [phrase for phrase in phrases if not words_of(phrase)]:
                raise SettingsError(f"{option}: expected words to listen for, got {nothing[0]!r}.")
        if calls.transfer_to or calls.transfer_key or calls.transfer_phrase:
            self.rest_api("--transfer-to")  # raises if credentials are missing

    def with_public_url(self) -> Settings:
        """Return settings with a public URL: the one that is set, or a tunnel's."""
        return self if self.reach.public_url else replace(self, reach=replace(self.reach, tunnel=True))

    def address(self) -> PublicAddress:
        """Return the public URL, or none.

        Raises:
            BadPublicUrl: if it is invalid.
        """
        url = self.reach.public_url
        return PublicAddress(parse_public_url(url) if url else None)

    def stream_address(self) -> PublicAddress | None:
        """Return the base URL of streams, if it differs from that of webhooks.

        Raises:
            BadPublicUrl: if it is invalid.
        """
        url = self.reach.stream_url
        return PublicAddress(parse_public_url(url)) if url else None

    def rest_api_if_set(self) -> TwilioApi | None:
        """Return the account's REST API, if the credentials are set."""
        return self.rest_api("hanging up") if self.twilio.account_sid and self.twilio.auth_token else None

    def rest_api(self, purpose: str) -> TwilioApi:
        """Return the account's REST API.

        Args:
            purpose: what needs it, for the error message.

        Raises:
            BadCredential: if one is malformed.
            SettingsError: if one is missing.
        """
        sid, token = self.twilio.account_sid, self.twilio.auth_token
        check_credentials(sid, token)
        if not (sid and token):
            raise SettingsError(
                f"{purpose} needs TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, in the environment or in .env; "
                "both are at https://console.twilio.com."
            )
        return TwilioApi(sid, token, self.twilio.twilio_api_url)
