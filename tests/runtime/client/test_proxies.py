"""Which servers are asked through a proxy, as curl has it, and what is said of an entry that nobody can read."""

from __future__ import annotations

import asyncio
import logging

import pytest

from model_runtime.client import proxies
from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.errors import LacunaRuntimeError

PROXY = "http://proxy.example:3128"
EVERY = {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    proxies._warn.cache_clear()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://127.8.9.10",
        "https://[::1]:8443",
        "http://localhost:1234",
        "http://LOCALHOST",
        "http://app.localhost",
        "http://localhost.",
        "http://[::ffff:127.0.0.1]:80",
    ],
)
def test_this_machine_is_asked_without_a_proxy(url: str) -> None:
    assert proxies.proxy_of(url, EVERY) is None


@pytest.mark.parametrize(
    ("exceptions", "url", "is_excepted"),
    [
        ("10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.7/8", "http://10.1.2.3", True),
        ("fd00::/8", "http://[fd12::1]:80", True),
        ("[fd00::]/8", "http://[fd12::1]:80", True),
        ("fd00::/8", "http://[2001:db8::1]", False),
        ("fd00::/8", "http://10.1.2.3", False),
        ("127.0.0.1,[::1],10.0.0.1", "http://10.0.0.1", True),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443", True),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]", False),
        ("example.org", "https://example.org", True),
        ("example.org", "https://a.b.example.org", True),
        (".example.org", "https://a.example.org", True),
        ("*.example.org", "https://a.example.org", True),
        ("example.org", "https://notexample.org", False),
        ("EXAMPLE.org.", "https://Example.ORG", True),
        ("example.org:8443", "https://example.org:8443", True),
        ("example.org:8443", "https://example.org", False),
        ("a.org b.org", "https://b.org", True),
        ("*", "https://anything.example", True),
        ("", "https://anything.example", False),
        ("10.0.0.1", "https://x10.0.0.1.example", False),
    ],
)
def test_exceptions_are_read_as_curl_reads_them(exceptions: str, url: str, is_excepted: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert (proxies.proxy_of(url, {**EVERY, name: exceptions}) is None) is is_excepted


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "[::1", "fd00::/x", "http://a.org/", "a:b:c", "[a.org]:80", "a:x"])
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_an_entry_that_nobody_can_read_is_passed_over_with_one_warning(
    entry: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {**EVERY, name: f"{entry},example.org"}
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert proxies.proxy_of("https://example.org", environment) is None
            assert proxies.proxy_of("https://example.com", environment) == PROXY
    (said,) = caplog.messages
    assert name in said and entry in said


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"all_proxy": "http://other", "HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": "", "ALL_PROXY": PROXY}, None),
        ({"HTTP_PROXY": PROXY}, None),
        ({}, None),
    ],
)
def test_the_proxy_is_the_one_for_the_scheme(environment: dict[str, str], proxy: str | None) -> None:
    assert proxies.proxy_of("https://lacuna.example", environment) == proxy


@pytest.mark.parametrize(
    "exceptions", ["127.0.0.1,[::1]", "fd00::/8", "127.0.0.0/8", "10.0.0.0/99 [::1", "", "example.org"]
)
async def test_a_server_of_this_machine_is_reached_whatever_the_environment_says(
    exceptions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n"))
        writer.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("the proxy was asked")

    here = await asyncio.start_server(answer, "127.0.0.1", 0)
    proxy = await asyncio.start_server(never, "127.0.0.1", 0)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("NO_PROXY", exceptions)
    client = Client(Endpoint(url=f"http://127.0.0.1:{here.sockets[0].getsockname()[1]}"))
    with pytest.raises(LacunaRuntimeError):
        await client.health()
    await client.close()
    here.close()
    proxy.close()
    assert asked and asked[0].startswith(b"GET /lacuna/health ")
