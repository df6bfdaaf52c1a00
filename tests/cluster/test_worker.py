"""A single worker: what it reports when it cannot start."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bot import run_call
from moshi_phone.cluster.worker import Worker
from moshi_phone.cluster.worker_client import WorkerReport
from moshi_phone.cluster.worker_spec import WorkerSpec
from moshi_phone.telephony.options import TwilioOptions
from tests.cluster.local_cluster import settings
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi


async def _report_of_failure(worker: Worker) -> WorkerReport:
    async with asyncio.timeout(10):
        while not (report := await worker.report(None)).over:  # noqa: ASYNC110 - a report has to be requested
            await asyncio.sleep(0.01)
    return report


async def test_any_user_error_is_reported_with_its_remedy(twilio: FakeTwilioApi) -> None:
    """A separate list of errors in the worker lacked Twilio's: it reported "TwilioError"."""
    twilio.fail(401, 20003, "Authenticate")
    of = replace(settings(), twilio=TwilioOptions(ACCOUNT_SID, AUTH_TOKEN, twilio_api_url=twilio.url))
    worker = Worker(WorkerSpec("w1", of, url_template="wss://{name}.example.com"), run_call)
    report = await _report_of_failure(worker)
    assert report.failure is not None
    assert "check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN" in report.failure
