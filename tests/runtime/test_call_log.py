from __future__ import annotations

import asyncio
import threading

from loguru import logger

from moshi_phone.runtime.call_log import call_context, call_logger, short_sid
from tests.support.logs import Logged

SID = "CA" + "7" * 32


def test_a_sid_is_shortened_to_letters_and_digits() -> None:
    assert short_sid(SID) == "CA77777777"
    assert short_sid("CA{1}\n\x1b\u202eé") == "CA1"


async def test_only_a_call_s_tasks_log_its_sid(logged: Logged) -> None:
    async def work(word: str) -> None:
        await asyncio.sleep(0)
        logger.info(word)

    with call_context(SID):
        task = asyncio.create_task(work("inside"))
    await asyncio.gather(task, work("outside"))
    assert logged.text == "INFO CA77777777 inside\nINFO outside\n"


async def test_a_thread_logs_with_the_call_s_logger(logged: Logged) -> None:
    with call_context(SID):
        log = call_logger()
    plain = call_logger()
    for logger_, word in ((log, "its own"), (plain, "nobody's")):
        thread = threading.Thread(target=logger_.info, args=(word,))
        thread.start()
        thread.join()
    assert logged.text == "INFO CA77777777 its own\nINFO nobody's\n"
