from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony.rest import TwilioApi
from moshi_phone.testing.engine import FakeEngine
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi
from tests.support.fake_sleep import Naps
from tests.support.phone import serving
from tests.support.webhook_server import AUTH_TOKEN as WEBHOOK_TOKEN
from tests.support.webhook_server import PUBLIC, WebhookServer


@pytest.fixture
async def server() -> AsyncIterator[WebhookServer]:
    engine = FakeEngine(capacity=1)
    line = ServerState(engine, auth=StreamAuth.for_account(WEBHOOK_TOKEN, PublicAddress(PUBLIC)))
    async with serving(line) as address, aiohttp.ClientSession() as http:
        yield WebhookServer(line, engine, address, http)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def api(twilio: FakeTwilioApi, naps: Naps) -> TwilioApi:
    return TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, naps)
