from __future__ import annotations

from fastapi import Request, Response

from moshi_phone.access.known_devices import COOKIE, KnownDevices


def cookie_of(devices: KnownDevices) -> str:
    response = Response()
    devices.issue_cookie(response)
    return response.headers["set-cookie"]


def shows(cookie: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", f"{COOKIE}={cookie}".encode())]})


def test_a_cookie_identifies_a_device() -> None:
    devices = KnownDevices()
    value = cookie_of(devices).partition(";")[0].removeprefix(f"{COOKIE}=")
    assert devices.identify(shows(value)) == f"device {value.partition('.')[0]}"


def test_each_device_has_its_own_name() -> None:
    devices = KnownDevices()
    assert cookie_of(devices) != cookie_of(devices)


def test_scripts_and_other_sites_never_get_the_cookie() -> None:
    attributes = cookie_of(KnownDevices()).lower()
    assert "httponly" in attributes
    assert "samesite=strict" in attributes


def test_a_forged_cookie_identifies_no_device() -> None:
    devices = KnownDevices()
    value = cookie_of(devices).partition(";")[0].removeprefix(f"{COOKIE}=")
    device, _, mac = value.partition(".")
    for forged in ("", device, f"{device}.", f"{device}0.{mac}", f"{device}.{mac[:-1]}", f"ä.{mac}"):
        assert devices.identify(shows(forged)) is None, forged
    assert KnownDevices().identify(shows(value)) is None  # another process's key


def test_a_cookie_issued_over_https_is_secure() -> None:
    for secure in (True, False):
        response = Response()
        KnownDevices().issue_cookie(response, secure=secure)
        assert ("secure" in response.headers["set-cookie"].lower()) is secure
