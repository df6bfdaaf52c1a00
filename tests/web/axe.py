"""axe-core, from npm, in a page: its findings in every appearance of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Page

AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
LOOKS = (("light", 1280), ("dark", 320))
_HEIGHT = 800


async def violations(page: Page) -> list[str]:
    """Check the page wide and light, and narrow and dark; return one line per finding.

    Raises:
        FileNotFoundError: when axe-core is not there; the text says how to get it.
    """
    if not AXE.exists():
        raise FileNotFoundError("axe-core is not there; run: npm ci --prefix tests/web")
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[str] = []
    for scheme, width in LOOKS:
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        await page.set_viewport_size({"width": width, "height": _HEIGHT})
        result: dict[str, Any] = await page.evaluate("axe.run()")
        assert len(result["passes"]) > 10  # it has looked
        found += [
            f"{scheme} {width}: {one['id']}: {node['target']} {node['failureSummary']}"
            for one in result["violations"]
            for node in one["nodes"]
        ]
        overflow_px = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if overflow_px > 0:
            found.append(f"{scheme} {width}: {overflow_px} px too wide")
    return found
