"""Who calls and who is called, in one spelling: for lists, limits, personas and hooks. Pure.

Twilio spells one party in many ways (``+15551234567``, ``whatsapp:+15551234567``,
``sip:+15551234567@host``, ``Anonymous``, ``+266696687``); ``normalize`` gives each of them one key.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from moshi_phone.telephony.e164 import E164, BadNumber, compact, parse_number, without_invisible

ANONYMOUS = "anonymous"
"""The key of every caller who withholds the number."""

_LEAST_DIGITS, _NATIONAL_DIGITS = 7, 10  # of any number, and of one in North America
_KEYPAD = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
_WITHHELD = frozenset(
    (
        *("anonymous", "restricted", "unavailable", "unknown", "blocked", "private", "withheld", "hidden"),
        *("privatenumber", "restrictednumber", "unknownnumber", "blockednumber", "withheldnumber"),
        *("hiddennumber", "numberwithheld", "nocallerid", "callerunknown", "anonymouscaller"),
        *("notavailable", "outofarea", "null", "none", "undefined"),
    )
)
# Some carriers send the word as digits, by the letters on a phone's keys: +266696687 is ANONYMOUS.
_WITHHELD_DIGITS = {word.translate(_KEYPAD) for word in _WITHHELD if len(word) >= _LEAST_DIGITS}
# Or behind North America's 1, where that makes no number of somebody's.
_WITHHELD_DIGITS |= {f"1{digits}" for digits in _WITHHELD_DIGITS if len(digits) != _NATIONAL_DIGITS}
_SCHEME = re.compile(r"(sips?|tel|callto|client|whatsapp|messenger|rcs):(.*)", re.DOTALL)
_BRACKETED = re.compile(r"<([^<>]*)>")
_NUMERIC = re.compile(r"\+?[0-9]+")
# 00 is how Europe dials the plus; a plus that was not encoded in a form arrives as a blank, or not at all.
_PREFIX = re.compile(r"\s*(?:\+|00)?")
_NAMES = ("sip", "sips", "client", "messenger")  # schemes whose parties are names, not numbers


def normalize(text: str | None) -> str:
    """Give the key of a party.

    Args:
        text: Twilio's ``From`` or ``To``, or what a person wrote for one.

    Returns:
        A number as E.164, whatever it came in (``whatsapp:``, ``tel:``, the user part of a SIP URI);
        ``anonymous`` for every way to withhold it; any other party (``sip:anna@example.com``,
        ``client:anna``) in lower case.
    """
    plain = without_invisible(unicodedata.normalize("NFKC", text or "")).strip().lower()
    if bracketed := _BRACKETED.search(plain):  # "Anna" <sip:anna@example.com>
        plain = bracketed[1].strip()
    named = _SCHEME.fullmatch(plain)
    scheme, rest = named.groups() if named else ("", plain)
    user, at, host = unquote(rest).split(";")[0].partition("@")
    if at:
        user = user.partition(":")[0]  # behind it may stand a password
    word = re.sub(r"[\W_]", "", user)
    if not word or word in _WITHHELD or (at and host.split(":")[0].endswith("anonymous.invalid")):
        return ANONYMOUS
    if not scheme and not _WITHHELD.isdisjoint(re.findall(r"[a-z]+", user)):  # "Number Unavailable"
        return ANONYMOUS
    if scheme != "client" and (number := _number(user)):  # a client's name may be digits
        return number if is_number(number) else ANONYMOUS
    if scheme in _NAMES:
        # The port and the parameters say how somebody is reached, not who it is.
        host = host.partition(":")[0]
        return f"{'sip' if scheme == 'sips' else scheme}:{user}{at}{host}"
    return user + at + host


def is_number(party: str) -> bool:
    """Tell whether a normalized party is a phone number in E.164."""
    return E164.fullmatch(party) is not None


def _number(text: str) -> str | None:
    """Read a number with its country code, with or without its plus; None where it is no number."""
    digits = compact(text).removeprefix("+")
    if not _NUMERIC.fullmatch(digits):
        return None
    if digits in _WITHHELD_DIGITS or not digits.strip("0"):
        return digits
    try:
        return parse_number(_PREFIX.sub("+", text, count=1))
    except BadNumber:
        return None
