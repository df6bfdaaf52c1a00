from __future__ import annotations

import base64
import hashlib
import re

from fastapi import HTTPException

from moshi_phone.server.web.refusal_page import refusal_page


def test_it_says_why_and_how_to_get_in_and_keeps_the_refusal_s_headers() -> None:
    page = refusal_page(HTTPException(401, "a <b>password</b>", {"WWW-Authenticate": "Basic"}))
    text = bytes(page.body).decode()
    assert page.status_code == 401
    assert page.headers["www-authenticate"] == "Basic"
    assert "a &lt;b&gt;password&lt;/b&gt;" in text
    assert "MOSHI_WEB_PASSWORD" in text


def test_one_with_nothing_to_do_about_it() -> None:
    page = refusal_page(HTTPException(429, "too many wrong passwords"))
    assert "too many wrong passwords" in bytes(page.body).decode()


def test_its_policy_lets_its_own_style_in_and_nothing_else() -> None:
    page = refusal_page(HTTPException(403, "not open"))
    found = re.search(r"<style>(.*?)</style>", bytes(page.body).decode(), re.DOTALL)
    assert found is not None
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
