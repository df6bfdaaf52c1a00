"""What a browser shows that is not let in: why, and how to get in."""

from __future__ import annotations

import base64
import hashlib
import html
from string import Template

from fastapi import HTTPException
from fastapi.responses import HTMLResponse

_STYLE = """
html { background: Canvas; color: CanvasText; }
body { max-width: 36rem; margin: 12vh auto; padding: 0 1.5rem; font: 1rem/1.6 system-ui, sans-serif; }
h1 { font-size: 1.35rem; }
code { padding: 0.1em 0.3em; border-radius: 0.3em; background: rgb(128 128 128 / 15%); }
li { margin-bottom: 0.8rem; overflow-wrap: anywhere; }
"""
_PAGE = Template("""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Moshi on the phone: not open</title>
    <style>$style</style>
  </head>
  <body>
    <main>
      <h1>Moshi on the phone</h1>
      <p>$reason</p>
      $how
    </main>
  </body>
</html>
""")
_HOW = {
    401: """<p>The user name may be anything; the password is the server’s <code>MOSHI_WEB_PASSWORD</code>.
        Reload the page to be asked again.</p>""",
    403: """<p>There are two ways in:</p>
      <ul>
        <li>With a password, from anywhere. Choose one of 8 characters or more, put it into <code>.env</code>
          as <code>MOSHI_WEB_PASSWORD=…</code>, and start the server with
          <code>uv run bot.py --web</code>.</li>
        <li>Without a password, on the machine that runs the server, while nothing makes it public: start it
          without a tunnel, public URL or host, and open <code>http://localhost:5001</code>.</li>
      </ul>""",
}
# By its hash the policy below lets this one style in, without 'unsafe-inline'.
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def refusal_page(refusal: HTTPException) -> HTMLResponse:
    """Make the page; its status and headers are the refusal's."""
    content = _PAGE.substitute(
        style=_STYLE, reason=html.escape(str(refusal.detail)), how=_HOW.get(refusal.status_code, "")
    )
    return HTMLResponse(content, refusal.status_code, _HEADERS | dict(refusal.headers or {}))
