"""What stands between a client and its server, each told in one sentence: certificates, proxies, portals, tokens."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from lacuna import doctor
from lacuna.settings import Remote
from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.errors import Denied, LacunaRuntimeError, ProtocolMismatch, Unreachable, Untrusted
from model_runtime.protocol import Done, InfillRequest
from tests.server.serving import PATIENCE, granted, grants, served
from tests.server.test_security import server_context

REQUEST = InfillRequest("me", "a.py", "def f():\n", "\n")
PAGE = b"<html><title>Welcome to the hotel</title></html>"


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def answers(endpoint: Endpoint) -> bool:
    client = Client(endpoint)
    try:
        async with asyncio.timeout(PATIENCE):
            await client.health()
            return isinstance([event async for event in client.infill(REQUEST)][-1], Done)
    finally:
        await client.close()


async def refused(endpoint: Endpoint) -> LacunaRuntimeError:
    """What both the handshake and a request say, which must be one sentence and the same, and the doctor's line."""
    said: list[LacunaRuntimeError] = []
    client = Client(endpoint)
    for ask in (client.health(), anext(client.infill(REQUEST))):
        with pytest.raises(LacunaRuntimeError) as caught:
            async with asyncio.timeout(PATIENCE):
                await ask
        said.append(caught.value)
    await client.close()
    assert str(said[0]) == str(said[1]) and "\n" not in str(said[0])
    remote = Remote(endpoint.url or "", endpoint.token, endpoint.ca, endpoint.certificate, endpoint.key)
    check = await asyncio.to_thread(doctor._look, "server", lambda: doctor._server(remote))
    assert not check.ok and check.detail == str(said[0])
    return said[0]


def pem(authority: trustme.CA, folder: Path) -> str:
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


async def test_an_organisations_own_authority_is_trusted_once_it_is_named(tmp_path: Path) -> None:
    authority = trustme.CA()
    async with served(context=server_context(authority)) as here:
        assert await answers(Endpoint(url=here.url, ca=pem(authority, tmp_path)))
        error = await refused(Endpoint(url=here.url))
        assert isinstance(error, Untrusted) and "`ca`" in str(error)
        elsewhere = await refused(Endpoint(url=here.url.replace("127.0.0.1", "localhost"), ca=pem(authority, tmp_path)))
        assert isinstance(elsewhere, Untrusted)


async def test_an_authority_of_the_systems_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    monkeypatch.setenv("SSL_CERT_FILE", pem(authority, tmp_path))
    async with served(context=server_context(authority)) as here:
        assert await answers(Endpoint(url=here.url))


async def test_a_server_that_asks_for_a_certificate_is_shown_one(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    mine = authority.issue_cert("anna")
    mine.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "mine.pem"))
    async with served(context=context) as here:
        own = str(tmp_path / "mine.pem")
        assert await answers(Endpoint(url=here.url, ca=pem(authority, tmp_path), certificate=own, key=own))
        error = await refused(Endpoint(url=here.url, ca=pem(authority, tmp_path)))
        assert isinstance(error, Unreachable) and "client_cert" in str(error)


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.pem", Path(__file__)):
        with pytest.raises(Untrusted, match=path.name):
            Client(Endpoint(url="https://127.0.0.1:1", ca=str(path)))


async def test_the_wrong_protocol_or_nobody_is_told() -> None:
    async with served() as here:
        clear = await refused(Endpoint(url=here.url.replace("http:", "https:")))
        assert isinstance(clear, Untrusted) and "mend the address" in str(clear)
    gone = await refused(Endpoint(url=here.url))
    assert isinstance(gone, Unreachable)


async def test_a_token_that_is_missing_wrong_or_expired_is_told_in_the_servers_words() -> None:
    token, grant = granted(expires=time.time() - 1)
    async with served(None, grants(grant)) as here:
        for given, said in ((token, "expired"), (None, "asks for a token"), ("lacuna_1_2", "revoked")):
            error = await refused(Endpoint(url=here.url, token=given))
            assert isinstance(error, Denied) and said in str(error) and token not in str(error)


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Somebody who says this to whatever they are asked: their address, and what they were asked."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:
        server.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n" % len(PAGE) + PAGE,
        b"HTTP/1.1 302 Found\r\nlocation: http://login.example/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 511 Network Authentication Required\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: %d\r\n\r\n" % len(PAGE)
        + PAGE,
    ],
    ids=["page", "redirect", "511", "forbidden"],
)
async def test_a_captive_portal_is_told_from_a_server(answer: bytes) -> None:
    async with saying(answer) as (url, _):
        error = await refused(Endpoint(url=url))
    assert isinstance(error, ProtocolMismatch) and "log in to this network" in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_asks_for_a_password_is_told(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
    async with saying(answer) as (proxy, heard):
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy)
        error = await refused(Endpoint(url=f"{scheme}://lacuna.example:8443", token="lacuna_1_secret"))
    assert isinstance(error, Unreachable)
    assert "407" in str(error) and "HTTPS_PROXY" in str(error) and "NO_PROXY=lacuna.example" in str(error)
    if scheme == "https":
        assert not any(b"secret" in one for one in heard)  # the tunnel is asked for without it


def test_a_proxy_or_a_port_that_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable, match="at most 65535"):
        Client(Endpoint(url="https://lacuna.example:84433"))
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(Unreachable, match=r"HTTPS_PROXY.*NO_PROXY=lacuna\.example"):
        Client(Endpoint(url="https://lacuna.example:8443"))


async def test_the_environments_proxy_is_used_and_exceptions_from_it_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    tunnels: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        tunnels.append(head.split(b"\r\n")[0])
        there = await asyncio.open_connection(*here.address)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(passed(reader, there[1]), passed(there[0], writer))

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("lacuna.example", "127.0.0.1").configure_cert(context)
    async with served(context=context) as here:
        named = here.url.replace("127.0.0.1", "lacuna.example")
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        assert await answers(Endpoint(url=named, ca=pem(authority, tmp_path)))
        assert tunnels == [b"CONNECT lacuna.example:%d HTTP/1.1" % here.address[1]]
        assert await answers(Endpoint(url=here.url, ca=pem(authority, tmp_path))), "this machine needs no proxy"
        monkeypatch.setenv("NO_PROXY", "lacuna.example")
        with pytest.raises(LacunaRuntimeError):  # nobody bears that name
            await Client(Endpoint(url=named)).health()
        assert len(tunnels) == 1
        proxy.close()
