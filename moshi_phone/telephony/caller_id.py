"""Normalizes callers and called parties: for lists, limits, personas and hooks. Pure.

Twilio spells one party in many ways (``+15551234567``, ``whatsapp:+15551234567``, ``sip:+15551234567@host``,
``Anonymous``, ``+266696687``); ``normalize`` maps them to one key.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from moshi_phone.telephony.e164 import E164, BadNumber, compact, parse_number, without_invisible

ANONYMOUS = "anonymous"
"""The key of all callers with withheld numbers."""

_MIN_DIGITS, _NATIONAL_DIGITS = 7, 10  # minimum of any number; length of one in North America
_KEYPAD = str.maketrans("abcdefghijklmnopqrstuvwxyz", "22233344455566677778889999")
_WITHHELD = frozenset(
    (
        *("anonymous", "restricted", "unavailable", "unknown", "blocked", "private", "withheld", "hidden"),
        *("privatenumber", "restrictednumber", "unknownnumber", "blockednumber", "withheldnumber"),
        *("hiddennumber", "numberwithheld", "nocallerid", "callerunknown", "anonymouscaller"),
        *("notavailable", "outofarea", "null", "none", "undefined"),
    )
)
# Some carriers send such a word as keypad digits: +266696687 is ANONYMOUS.
_WITHHELD_DIGITS = {word.translate(_KEYPAD) for word in _WITHHELD if len(word) >= _MIN_DIGITS}
# Or with North America's 1 in front, unless that could be a real number.
_WITHHELD_DIGITS |= {f"1{digits}" for digits in _WITHHELD_DIGITS if len(digits) != _NATIONAL_DIGITS}
_SCHEME = re.compile(r"(sips?|tel|callto|client|whatsapp|messenger|rcs):(.*)", re.DOTALL)
_BRACKETED = re.compile(r"<([^<>]*)>")
_NUMERIC = re.compile(r"\+?[0-9]+")
# Europe dials 00 for the plus; an unencoded plus in a form arrives as a blank, or not at all.
_PREFIX = re.compile(r"\s*(?:\+|00)?")
_NAMES = ("sip", "sips", "client", "messenger")  # schemes with names, not numbers


def normalize(text: str | None) -> str:
    """Return the key of a party.

    Args:
        text: Twilio's ``From`` or ``To``, or a user's notation of one.

    Returns:
        A number as E.164, in any notation (``whatsapp:``, ``tel:``, the user part of a SIP URI);
        ``anonymous`` for a withheld number; any other party (``sip:anna@example.com``, ``client:anna``) in
        lower case.
    """
    plain = without_invisible(unicodedata.normalize("NFKC", text or "")).strip().lower()
    if bracketed := _BRACKETED.search(plain):  # "Anna" <sip:anna@example.com>
        plain = bracketed[1].strip()  # the display name is chosen by the caller
    named = _SCHEME.fullmatch(plain)
    scheme, rest = named.groups() if named else ("", plain)
    user, at, host = unquote(rest).split(";")[0].partition("@")
    if at:
        user = user.partition(":")[0]  # a password may follow
    word = re.sub(r"[\W_]", "", user)
    if not word or word in _WITHHELD or (at and host.split(":")[0].endswith("anonymous.invalid")):
        return ANONYMOUS
    if not scheme and not _WITHHELD.isdisjoint(re.findall(r"[a-z]+", user)):  # "Number Unavailable"
        return ANONYMOUS
    if scheme != "client" and (number := _number(user)):  # a client's name may consist of digits
        return number if is_number(number) else ANONYMOUS
    if scheme in _NAMES:
        # Port and parameters are about the route, not the person.
        host = host.partition(":")[0]
        return f"{'sip' if scheme == 'sips' else scheme}:{user}{at}{host}"
    return user + at + host


def is_number(party: str) -> bool:
    """Return whether a normalized party is an E.164 number."""
    return E164.fullmatch(party) is not None


def _number(text: str) -> str | None:
    """Parse a number with its country code, with or without plus; None if it is not a number."""
    digits = compact(text).removeprefix("+")
    if not _NUMERIC.fullmatch(digits):
        return None
    if digits in _WITHHELD_DIGITS or not digits.strip("0"):
        return digits
    try:
        return parse_number(_PREFIX.sub("+", text, count=1))
    except BadNumber:
        return None
