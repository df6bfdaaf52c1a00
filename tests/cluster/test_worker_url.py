"""cluster/worker_url.py: the template of the workers' URLs."""

from __future__ import annotations

import pytest

from moshi_phone.cluster.worker_url import BadWorkerUrl, check_worker_url, worker_name, worker_url


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("wss://{name}.phone.example.com", "https://w3.phone.example.com"),
        ("https://phone.example.com/{name}/", "https://phone.example.com/w3"),
        ("{host}.example.com:{port}", "https://gpu-1.example.com:5103"),
    ],
)
def test_each_worker_has_its_own_url(template: str, url: str) -> None:
    check_worker_url(template)
    assert worker_url(template, name=worker_name(3), host="gpu-1", port=5103) == url


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("wss://phone.example.com", "is the same for all workers: put {name} where they differ"),
        ("wss://{number}.example.com", "expected {name}, {host} or {port}, got {number}"),
        ("wss://{name.example.com", "expected '}' before end of string"),
        ("ftp://{name}.example.com", "expected a public URL such as https://phone.example.com"),
    ],
)
def test_invalid_templates_are_rejected(template: str, why: str) -> None:
    with pytest.raises(BadWorkerUrl) as refused:
        check_worker_url(template)
    assert why in str(refused.value)
