"""A stand-in for Twilio's REST API: a real HTTP server, for Twilio's real client.

Written from the documented requests and answers (and the examples in twilio-python's own tests) of the
resources that we use: accounts, calls, incoming phone numbers. Nothing changes by itself: a call advances to
the next of the statuses that the test lists with each request for it.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.http_server import serving_http

ACCOUNT_SID = "AC" + "a" * 32
AUTH_TOKEN = "f" * 32
NUMBER = "+15005550006"
NUMBER_SID = "PN" + "b" * 32
ENDED = ("completed", "busy", "no-answer", "failed", "canceled")

_PREFIX = re.compile(r"/2010-04-01/Accounts/(?P<account>AC[a-z0-9]{32})(?P<rest>[/.].*)")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")

Form = dict[str, list[str]]


@dataclass
class Request:
    """One request that came, with its form or query."""

    method: str
    path: str
    form: Form


@dataclass
class Failure:
    """The API's answer for the next ``times`` requests."""

    status: int
    code: int | None = None
    message: str = ""
    times: int = 1
    only: str = ""  # a part of "METHOD path"


@dataclass
class FakeTwilioApi:
    """The account's state. Tests read and write it directly.

    Attributes:
        progress: the successive statuses of the next calls, the last of which stays.
        on_call: called for each placed call, in the server's thread, after the response was sent.
        on_redirect: called for each redirected call, in that thread, before the response is sent.
        on_failure: called before each response that ``fail`` has requested, in that thread.
    """

    url: str = ""
    account_status: str = "active"
    account_type: str = "Full"
    progress: Sequence[str] = ("queued", "ringing", "in-progress", "completed")
    requests: list[Request] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    number: dict[str, Any] = field(default_factory=dict)
    numbers: list[dict[str, Any]] = field(default_factory=list)  # where there are more than the one
    recordings: dict[str, bytes] = field(default_factory=dict)  # WAV files, by SID
    on_call: Callable[[str, Form], object] | None = None
    on_redirect: Callable[[str], object] | None = None
    on_failure: Callable[[], object] | None = None
    _steps: dict[str, deque[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Add one number to the account, without any configuration."""
        self.number = {
            "sid": NUMBER_SID,
            "account_sid": ACCOUNT_SID,
            "phone_number": NUMBER,
            "friendly_name": "(500) 555-0006",
            "capabilities": {"voice": True, "sms": False, "mms": False},
            "date_created": "Thu, 30 Jul 2015 23:19:04 +0000",
            "voice_url": None,
            "voice_method": "POST",
            "voice_application_sid": "",
            "trunk_sid": None,
        }

    def fail(self, status: int, code: int | None = None, message: str = "", **more: Any) -> None:
        """Answer the next request with an error."""
        self.failures.append(Failure(status, code, message, **more))

    def made(self, method: str, part: str) -> list[Form]:
        """Return the forms of all requests of this method whose path contains this part."""
        return [one.form for one in self.requests if one.method == method and part in one.path]

    def put_in_progress(self, sid: str) -> None:
        """Register an inbound call that was answered."""
        self.calls[sid] = {"sid": sid, "status": "in-progress", "duration": None}
        self._steps[sid] = deque()

    def answer(self, request: Request, login: str) -> tuple[int, Any]:
        """Return the status and the JSON for a request."""
        self.requests.append(request)
        for failure in self.failures:
            if failure.only in f"{request.method} {request.path}":
                failure.times -= 1
                if failure.times == 0:
                    self.failures.remove(failure)
                return failure.status, _error(failure.status, failure.code, failure.message)
        found = _PREFIX.fullmatch(request.path)
        if found is None:
            return 404, _error(404, 20404, f"The requested resource {request.path} was not found")
        if login != f"{ACCOUNT_SID}:{AUTH_TOKEN}" or found["account"] != ACCOUNT_SID:
            return 401, _error(401, 20003, "Authenticate")
        return self._route(request, found["rest"])

    def _route(self, request: Request, rest: str) -> tuple[int, Any]:  # noqa: PLR0911 - one for each resource
        method, form = request.method, request.form
        match rest.removesuffix(".json").split("/"):
            case [""] if method == "GET":
                account = {"sid": ACCOUNT_SID, "status": self.account_status, "type": self.account_type}
                return 200, account
            case ["", "Calls"] if method == "POST":
                return self._place(form)
            case ["", "Calls", sid] if sid in self.calls:
                return self._update_call(sid, form) if method == "POST" else self._step(sid)
            case ["", "Recordings", file] if (sid := file.removesuffix(".wav")) in self.recordings:
                wav = self.recordings[sid] if method == "GET" else self.recordings.pop(sid)[:0]
                return 200 if wav else 204, wav
            case ["", "IncomingPhoneNumbers"] if method == "GET":
                wanted = form.get("PhoneNumber", [""])[0].replace("*", "")
                found = [one for one in self._numbers.values() if wanted in one["phone_number"]]
                found = found[: int(form.get("PageSize", ["50"])[0])]
                return 200, {
                    "incoming_phone_numbers": found,
                    "page": 0,
                    "page_size": 50,
                    "next_page_uri": None,
                }
            case ["", "IncomingPhoneNumbers", sid] if sid in self._numbers:
                number = self._numbers[sid]
                if method == "POST":
                    names = {"VoiceUrl": "voice_url", "VoiceMethod": "voice_method"}
                    names["VoiceApplicationSid"] = "voice_application_sid"
                    number.update({names[name]: values[0] for name, values in form.items()})
                return 200, number
        return 404, _error(404, 20404, f"The requested resource {request.path} was not found")

    @property
    def _numbers(self) -> dict[str, dict[str, Any]]:
        return {one["sid"]: one for one in self.numbers or [self.number]}

    def _place(self, form: Form) -> tuple[int, Any]:
        to, from_ = form.get("To", [""])[0], form.get("From", [""])[0]
        if not _E164.fullmatch(to):
            return 400, _error(400, 21211, f"The 'To' number {to} is not a valid phone number.")
        if from_ != self.number["phone_number"]:
            return 400, _error(400, 21210, f"The source phone number provided, {from_}, is not yet verified")
        if len(form.get("Twiml", [""])[0]) > 4000:
            return 400, _error(400, 21629, "Twiml must be at most 4000 characters")
        sid = f"CA{len(self.calls):032x}"
        self._steps[sid] = deque(self.progress)
        self.calls[sid] = {
            "sid": sid,
            "account_sid": ACCOUNT_SID,
            "to": to,
            "from": from_,
            "status": self._steps[sid].popleft(),
            "duration": None,
            "direction": "outbound-api",
            "date_created": "Tue, 31 Aug 2010 20:36:28 +0000",
        }
        return 201, dict(self.calls[sid])

    def _step(self, sid: str) -> tuple[int, Any]:
        call = self.calls[sid]
        if self._steps[sid]:
            call["status"] = self._steps[sid].popleft()
        if call["status"] in ENDED and call["duration"] is None:
            call["duration"] = "42" if call["status"] == "completed" else "0"
        return 200, dict(call)

    def _update_call(self, sid: str, form: Form) -> tuple[int, Any]:
        call = self.calls[sid]
        if call["status"] in ENDED:
            return 404, _error(404, 20404, f"The requested resource Calls/{sid}.json was not found")
        if form.get("Status") in (["completed"], ["canceled"]):
            call["status"] = "completed" if call["status"] == "in-progress" else "canceled"
            self._steps[sid].clear()
        return 200, dict(call)


def _error(status: int, code: int | None, message: str) -> dict[str, Any] | str:
    if code is None:
        return f"<html>{HTTPStatus(status).phrase}</html>"  # what a gateway in front of the API answers
    return {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }


@contextmanager
def fake_twilio_api() -> Iterator[FakeTwilioApi]:
    """Serve a fake account on a free port of this machine, in a thread."""
    api = FakeTwilioApi()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(parse_qs(urlsplit(self.path).query, keep_blank_values=True))

        def do_DELETE(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._reply(parse_qs(body, keep_blank_values=True))

        def _reply(self, form: Form) -> None:
            kind, _, credentials = self.headers.get("Authorization", "").partition(" ")
            login = base64.b64decode(credentials).decode() if kind == "Basic" else ""
            path = urlsplit(self.path).path
            if api.on_failure and any(one.only in f"{self.command} {path}" for one in api.failures):
                api.on_failure()
            with lock:
                status, content = api.answer(Request(self.command, path, form), login)
            if api.on_redirect and status == HTTPStatus.OK and "Twiml" in form and self.command == "POST":
                api.on_redirect(content["sid"])
            text = content if isinstance(content, str | bytes) else json.dumps(content)
            body = text if isinstance(text, bytes) else text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            if api.on_call and status == HTTPStatus.CREATED:
                api.on_call(content["sid"], form)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing: the tests read ``requests``."""

    with serving_http(Handler) as api.url:
        yield api
