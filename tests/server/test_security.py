"""What strangers and thieves try at the port: nothing is served, nothing is told, the service stays up."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.gateway import connection_limits, gateway
from model_runtime.opening import open_engine
from model_runtime.owner import of_token
from model_runtime.protocol import BODY_LIMIT, Done, InfillRequest, Lesson
from tests import tiny
from tests.scripted import ScriptedEngine
from tests.server.serving import PATIENCE, SECRET_CODE, Served, completion, granted, grants, served, talkative
from tests.server.test_serve import trusting

PATHS = (
    "/v1/completions",
    "/v1/models",
    "/v1/models/scripted",
    "/infill",
    "/metrics",
    "/lacuna/infill",
    "/lacuna/memory",
)
INFILL = {"client": "me", "path": "a.py", "prefix": f"def {SECRET_CODE}():\n", "suffix": "\n"}
LLAMA = {"input_prefix": SECRET_CODE, "input_suffix": ""}


@pytest.fixture(autouse=True)
def _nothing_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No log of the service holds a word of code or a token."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the tests' own client
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    yield
    assert SECRET_CODE not in caplog.text and "lacuna_" not in caplog.text


async def still_serves(here: Served, token: str | None) -> None:
    async with here.http(token) as http:
        response = await http.post("/v1/completions", json=completion())
    assert response.status_code == 200, response.text


async def said(here: Served, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back for these bytes until the other side closes."""
    reader, writer = await asyncio.open_connection(*here.address)
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
    answer = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
    writer.close()
    return answer


# Who may ask


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_good_token_nothing_is_served_on_any_path(path: str) -> None:
    good, grant = granted()
    stale, expired = granted(expires=time.time() - 1)
    revoked, _ = granted()
    head, secret = good.rsplit("_", 1)[0], good.split("_", 2)[2]
    wrong = [
        *(None, "Basic abc", "Bearer", f"bearer {revoked}", f"Bearer {stale}", f"Bearer {good}x"),
        *(
            f"Bearer {good[:-1]}",
            f"Bearer {head}_",
            f"Bearer lacuna__{secret}",
            f"Bearer {secret}",
            f"Bearer {grant.digest}",
        ),
        *(f"Bearer lacuna_{grant.id}_{grant.digest}", "Bearer " + "x" * 9000, "Bearer ü", "Bearer ../../etc/passwd"),
    ]
    engine = talkative()
    async with served(engine, grants(grant, expired)) as here, here.http() as http:
        answers = set()
        for given in wrong:
            headers = [] if given is None else [(b"authorization", given.encode("utf-8"))]
            response = await http.request(
                "GET" if path.startswith(("/v1/models", "/metrics")) else "POST", path, headers=headers
            )
            assert response.status_code == 401, given
            assert response.headers["www-authenticate"] == "Bearer"
            answers.add(response.json()["error"]["message"])
        assert len(answers) == 3  # none, no good, expired: and nothing about the tokens there are
        await still_serves(here, good)
    assert len(engine.calls) == 1
    assert {(record.token, record.name) for record in here.records if record.status == 401} == {("", "")}


async def test_a_token_does_no_more_than_its_scopes() -> None:
    writer, may_write = granted()
    watcher, may_watch = granted(scopes=("metrics",))
    async with served(None, grants(may_write, may_watch)) as here:
        async with here.http(writer) as http:
            assert (await http.get("/metrics")).status_code == 403
        async with here.http(watcher) as http:
            assert (await http.get("/metrics")).status_code == 200
            for path, body in (("/v1/completions", completion()), ("/infill", LLAMA), ("/lacuna/infill", INFILL)):
                assert (await http.post(path, json=body)).status_code == 403
            assert (await http.get("/lacuna/health")).status_code == 403


async def test_a_token_that_expires_meanwhile_is_refused_from_then_on() -> None:
    now = [1000.0]
    token, grant = granted(expires=1010.0)
    async with served(None, grants(grant), clock=lambda: now[0]) as here, here.http(token) as http:
        assert (await http.get("/v1/models")).status_code == 200
        now[0] = 1010.0
        response = await http.get("/v1/models")
        assert response.status_code == 401 and "expired" in response.text


async def test_a_token_that_asks_too_often_is_told_when_to_come_back() -> None:
    now = [1000.0]
    token, grant = granted(rate=12)  # one in five seconds, two at once
    other, free = granted()
    async with served(None, grants(grant, free), clock=lambda: now[0]) as here, here.http(token) as http:
        assert [(await http.get("/v1/models")).status_code for _ in range(3)] == [200, 200, 429]
        refused = await http.get("/v1/models")
        assert refused.headers["retry-after"] == "5"
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        await still_serves(here, other)
        now[0] += 5
        assert (await http.get("/v1/models")).status_code == 200


async def test_a_token_that_asks_too_much_at_once_leaves_room_for_others() -> None:
    engine = ScriptedEngine()
    token, grant = granted(concurrency=2)
    other, free = granted()
    async with served(engine, grants(grant, free)) as here, here.http(token) as http:
        asking = [asyncio.create_task(http.post("/v1/completions", json=completion())) for _ in range(2)]
        async with asyncio.timeout(PATIENCE):
            while here.service.metrics.taken < 2:
                await asyncio.sleep(0.01)
        refused = await http.post("/v1/completions", json=completion())
        assert refused.status_code == 429 and "retry-after" in refused.headers
        engine.gate.set()
        assert [(await one).status_code for one in asking] == [200, 200]
        await still_serves(here, other)


# One token and another


async def test_one_tokens_requests_neither_end_nor_teach_anothers() -> None:
    engine = ScriptedEngine()
    (one, a), (two, b) = granted(), granted()
    async with served(engine, grants(a, b)) as here:
        ours, theirs = Client(Endpoint(url=here.url, token=one)), Client(Endpoint(url=here.url, token=two))
        request = msgspec.convert({**INFILL, "workspace": "shop", "priority": "hand"}, InfillRequest)
        assert (await ours.learn(Lesson("shop", {"a.py": "quick brown fox\n" * 9}))).tokens > 0

        async def ask(client: Client) -> Any:
            return [event async for event in client.infill(request)][-1]

        first = asyncio.create_task(ask(ours))
        async with asyncio.timeout(PATIENCE):
            while here.service.metrics.taken < 1:
                await asyncio.sleep(0.01)
        second = asyncio.create_task(ask(theirs))  # the same client's name, the same workspace's
        async with asyncio.timeout(PATIENCE):
            while here.service.metrics.taken < 2:
                await asyncio.sleep(0.01)
        engine.gate.set()
        assert ((await first).finish, (await second).finish) == ("end", "end")
        await ours.close()
        await theirs.close()
    assert [call.ngrams is not None for call in engine.calls] == [True, False]
    assert [call.owner for call in engine.calls] == [of_token(a.id), of_token(b.id)]  # own KV slots, own turns
    assert {call.priority for call in engine.calls} == {"automatic"}  # and nobody goes before the other


async def test_the_same_prompt_of_two_tokens_is_read_twice(tmp_path: Path) -> None:
    engine = open_engine(tiny.write(tmp_path / "model"), cache=tmp_path / "cache")
    (one, a), (two, b) = granted(), granted()
    request = msgspec.convert({**INFILL, "prefix": "word = 1\n" * 9, "max_tokens": 2}, InfillRequest)
    async with served(engine, grants(a, b)) as here:
        reused = []
        for token in (one, two, one, two):
            client = Client(Endpoint(url=here.url, token=token))
            done = [event async for event in client.infill(request)][-1]
            assert isinstance(done, Done)
            reused.append(done.usage.reused > 0)
            await client.close()
    assert reused == [False, False, True, True]


async def test_without_tokens_nothing_is_remembered_of_a_workspace() -> None:
    engine = talkative()
    async with served(engine) as here:
        client = Client(Endpoint(url=here.url))
        assert (await client.learn(Lesson("shop", {"a.py": "quick brown fox\n"}))).tokens == 0
        _ = [event async for event in client.infill(msgspec.convert({**INFILL, "workspace": "shop"}, InfillRequest))]
        await client.close()
    assert engine.calls[0].ngrams is None


# What is asked


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "....//", "scripted%2f..", "~root", "x" * 9000]
)
async def test_a_models_name_leads_to_no_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as here, here.http() as http:
        opened: list[object] = []
        monkeypatch.setattr("builtins.open", lambda file, *_, **__: opened.append(file))
        monkeypatch.setattr("os.open", lambda file, *_, **__: opened.append(file))
        listed = await http.get(f"/v1/models/{name}")
        asked = await http.post("/v1/completions", json=completion(model=name))
        monkeypatch.undo()
    assert asked.status_code == 404 and asked.json()["error"]["param"] == "model"
    assert listed.status_code == 404 and "root" not in listed.json()["error"]["message"]
    assert not opened


@pytest.mark.parametrize("path", ["/v1/completions", "/infill", "/lacuna/infill", "/lacuna/memory"])
async def test_json_that_is_none_is_a_bad_request(path: str) -> None:
    bodies = [b"", b"{", b"nonsense", b"\xff\xfe\x00", b'{"prompt": NaN}', b'"\\ud800"', b"null"]
    async with served() as here, here.http() as http:
        for body in (*bodies, b"[" * 100_000, b'{"x":' * 50_000):
            response = await http.post(path, content=body)
            assert response.status_code == 400, body[:20]
            assert response.json()["error"]["message"]
        await still_serves(here, None)


@pytest.mark.parametrize("path", ["/v1/completions", "/infill", "/lacuna/infill", "/lacuna/memory"])
async def test_a_method_that_a_path_does_not_take_is_told_which_it_takes(path: str) -> None:
    async with served() as here, here.http() as http:
        response = await http.get(path)
        assert response.status_code == 405 and response.headers["allow"] == "POST"
        assert response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/completions", "/infill", "/lacuna/infill", "/lacuna/memory"])
async def test_a_body_that_is_too_large_is_told_so(path: str) -> None:
    async with served() as here, here.http() as http:
        response = await http.post(path, content=b" " * (BODY_LIMIT + 1))
        assert response.status_code == 413 and response.headers["connection"] == "close"
        assert "at most" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "parts",
    [
        (b"GET / HTTP/1.1\r\nx: ", *[b"a" * 65536] * 64),
        (b"GET / HTTP/1.1\r\n", *[b"x: y\r\n" * 10_000] * 64),
        (b"GET /", *[b"a" * 65536] * 64),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"x%d: %s\r\n" % (at, b"y" * 900) for at in range(60)) + b"\r\n",),
    ],
    ids=["one header", "many headers", "address", "whole"],
)
async def test_a_head_without_end_is_cut_off(parts: tuple[bytes, ...]) -> None:
    async with served() as here:
        answer = await said(here, *parts)
        assert answer == b"" or answer.split(b" ")[1] in (b"400", b"431")
        await still_serves(here, None)


@pytest.mark.parametrize("path", [b"/v1/completions", b"/infill", b"/lacuna/infill"])
async def test_a_body_without_end_is_cut_off(path: bytes) -> None:
    async with served() as here:
        head = b"POST " + path + b" HTTP/1.1\r\nhost: x\r\n"
        declared = await said(here, head + b"content-length: 99999999999\r\n\r\n", *[b" " * 65536] * 100)
        chunked = await said(
            here, head + b"transfer-encoding: chunked\r\n\r\n", *[b"10000\r\n" + b" " * 65536 + b"\r\n"] * 100
        )
        for answer in (declared, chunked):
            assert answer == b"" or answer.split(b" ")[1] == b"400"
        await still_serves(here, None)


async def test_bytes_that_are_no_http_are_answered_with_a_no() -> None:
    both = b"POST /v1/completions HTTP/1.1\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /"
    async with served() as here:
        for nonsense in (b"\x16\x03\x01\x02\x00", b"\0" * 4096, b"SSH-2.0-x\r\n", b"GET / HTTP/9.9\r\n\r\n", both):
            answer = await said(here, nonsense)
            assert answer.startswith(b"HTTP/1.1 400"), nonsense
        await still_serves(here, None)


async def test_nobody_turns_a_connection_into_another_protocol() -> None:
    token, grant = granted()
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n"
    async with served(None, grants(grant)) as here:
        answer = await said(here, b"GET /v1/completions HTTP/1.1\r\nhost: x\r\n" + upgrade + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 401")
        await still_serves(here, token)


async def test_a_body_that_dawdles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "BODY_SECONDS", 0.2)
    async with served() as here:
        answer = await said(here, b"POST /infill HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
        assert answer.startswith(b"HTTP/1.1 400")
        await still_serves(here, None)


async def test_a_client_that_reads_nothing_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "REQUEST_SECONDS", 0.5)
    engine = talkative(words=tuple("word " * 2 for _ in range(3000)))
    async with served(engine) as here:
        body = json.dumps(completion(stream=True, logprobs=1, max_tokens=4096, prompt="x")).encode()
        reader, writer = await asyncio.open_connection(*here.address, limit=1)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        async with asyncio.timeout(PATIENCE):
            while not here.records:
                await asyncio.sleep(0.02)
        monkeypatch.undo()
        await still_serves(here, None)
        writer.transport.abort()
        del reader


# Who only knocks


@contextlib.asynccontextmanager
async def knocking(here: Served, count: int, greeting: bytes) -> AsyncIterator[list[socket.socket]]:
    """So many connections that say this and then nothing."""
    opened: list[socket.socket] = []
    try:
        for at in range(count):
            one = socket.socket()
            one.setblocking(False)
            opened.append(one)
            await asyncio.get_running_loop().sock_connect(one, here.address)
            if greeting:
                with contextlib.suppress(OSError):
                    one.send(greeting)
            if at % 50 == 0:
                await asyncio.sleep(0)
        yield opened
    finally:
        for one in opened:
            one.close()


@pytest.mark.parametrize("greeting", [b"", b"G", b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n", b"\x16\x03\x01"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_connections_that_say_nothing_hold_nobody_up(
    greeting: bytes, encrypted: bool, count: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "MOST", count // 5)
    monkeypatch.setattr(
        connection_limits, "STRANGER_SECONDS", 2.0 if count < 1000 else connection_limits.STRANGER_SECONDS
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = len(os.listdir("/proc/self/fd"))
    if hard < count + count // 5 + before + 200:
        pytest.skip(f"the system allows {hard} open files, {count} connections and their other ends need more")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    engine = talkative()
    token, grant = granted()
    authority = trustme.CA()
    context = server_context(authority) if encrypted else None
    async with served(engine, grants(grant), context=context) as here:
        verify = trusting(authority) if encrypted else False
        async with here.http(token, verify=verify) as guest:
            assert (await guest.get("/v1/models")).status_code == 200
            async with knocking(here, count, greeting):
                assert (await guest.post("/v1/completions", json=completion())).status_code == 200  # the old connection
                async with here.http(token, verify=verify) as late:  # and a new one
                    assert (await late.post("/v1/completions", json=completion())).status_code == 200
                assert len(engine.calls) == 2
            async with asyncio.timeout(connection_limits.STRANGER_SECONDS + PATIENCE):
                while "lacuna_connections 1.0" not in here.service.metrics.text().decode():
                    await asyncio.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) <= before + 3
    assert {record.status for record in here.records} == {200}


async def test_a_stranger_is_shown_out_and_a_guest_may_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "STRANGER_SECONDS", 0.3)
    token, grant = granted()
    async with served(None, grants(grant)) as here, here.http(token) as guest:
        assert (await guest.get("/v1/models")).status_code == 200
        for greeting in (b"", b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /v1/models HTTP/1.1\r\nhost: x\r\n"):
            await said(here, greeting)  # ends, for the other side closes
        pool = guest._transport._pool.connections  # type: ignore[attr-defined]
        assert (await guest.get("/v1/models")).status_code == 200
        assert len(pool) == 1 and guest._transport._pool.connections == pool  # type: ignore[attr-defined]


async def test_nothing_is_left_of_connections_that_are_reset() -> None:
    linger = struct.pack("ii", 1, 0)  # closing resets
    async with served() as here:
        for _ in range(5):
            with socket.create_connection(here.address) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                reader, writer = await asyncio.open_connection(sock=one)
                writer.write(b"GET /lacuna/health HTTP/1.1\r\nhost: x\r\n\r\n")
                async with asyncio.timeout(PATIENCE):
                    await reader.readuntil(b"}")
                writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while any(isinstance(one, HttpToolsProtocol) for one in gc.get_objects()):
                await asyncio.sleep(0.05)
                gc.collect()


async def test_the_audit_says_who_did_what_and_no_word_of_code() -> None:
    token, grant = granted(name="anna")
    async with served(None, grants(grant)) as here, here.http(token) as http:
        await http.post("/v1/completions", json=completion())
        await http.post("/lacuna/infill", json=INFILL)
        await http.post("/infill", json={**LLAMA, "stream": True})
        await http.get(f"/{SECRET_CODE}")
    async with asyncio.timeout(PATIENCE):
        while len(here.records) < 4:
            await asyncio.sleep(0.01)
    assert [(one.path, one.status, one.name) for one in here.records] == [
        ("/v1/completions", 200, "anna"),
        ("/lacuna/infill", 200, "anna"),
        ("/infill", 200, "anna"),
        ("other", 404, "anna"),
    ]
    assert all(one.prompt > 0 and one.written == 2 for one in here.records[:3])
    assert SECRET_CODE not in repr(here.records) and token not in repr(here.records)


def server_context(authority: trustme.CA) -> ssl.SSLContext:

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context
