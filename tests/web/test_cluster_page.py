"""The page of a gateway: its call goes to a worker, and the calls of all workers are listed."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from moshi_phone.cluster.options import ClusterOptions
from tests.cluster.local_cluster import local_cluster
from tests.web.browser import browsing, state

pytestmark = pytest.mark.browser


async def test_a_call_from_the_page_goes_to_a_worker() -> None:
    async with (
        local_cluster(ClusterOptions(workers=2), is_public=False) as cluster,
        browsing(f"http://{cluster.address}/") as page,
    ):
        await state(page, "server", "ready")
        await page.get_by_role("button", name="Call").click()
        await state(page, "call", "talking")
        await expect(page.locator("#calls tr.own")).to_contain_text("(w1)")
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.locator("#calls tr")).to_have_count(0)
