"""Redirects phone calls of vanished workers through Twilio's API, so that Twilio asks what to do next."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from loguru import logger

from moshi_phone.runtime.call_log import call_context
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony import twiml
from moshi_phone.telephony.rest_errors import TwilioError

_TOGETHER = 8  # concurrent requests; each takes a thread


async def redirect(lost: Mapping[str, int], state: ServerState) -> None:
    """Have Twilio ask for the next step of each call.

    Args:
        lost: number of streams that broke off, by the call's SID.
        state: has Twilio's API and the public URL.
    """
    if state.rest is None or state.webhooks.base is None:
        logger.warning("{} calls hang on a dead worker: they need TWILIO_ACCOUNT_SID", len(lost))
        return
    logger.warning("Redirecting {} calls of a worker that does not answer", len(lost))
    turns = asyncio.Semaphore(_TOGETHER)
    await asyncio.gather(*(_redirect(sid, resumes, state, turns) for sid, resumes in lost.items()))


async def _redirect(call_sid: str, resumes: int, state: ServerState, turns: asyncio.Semaphore) -> None:
    url = state.webhooks.https(twiml.next_path(resumes, question=twiml.new_question()))
    assert state.rest is not None  # noqa: S101 - both are checked by the caller
    assert url is not None  # noqa: S101
    with call_context(call_sid):
        try:
            async with turns:
                await state.rest.redirect(call_sid, twiml.ask(url))
        except TwilioError as error:  # usually because the caller has hung up
            logger.info("The call cannot be resumed: {}", error)
