"""A server and the local model in its place; engines of other projects behind the same client."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lacuna import isolation, remote
from lacuna.settings import Remote, Settings
from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.client.external_engines import ExternalEngine, Manner
from model_runtime.errors import Denied, ProtocolMismatch, Refused, Unreachable
from model_runtime.prompt import Snippet
from model_runtime.protocol import Chunk, Done, InfillRequest, Lesson
from tests import daemons, tiny
from tests.lsp.scripted_editor import Editor
from tests.scripted import ScriptedEngine
from tests.server.serving import PATIENCE, granted, grants, served, talkative

LLAMA = os.environ.get(
    "LACUNA_TEST_LLAMA"
)  # a Python that has llama-cpp-python's server, and a GGUF file, with a space
REQUEST = InfillRequest(
    "me", "a.py", "def f(a):\n    ", "\n\nf(1)\n", context=(Snippet("b.py", "import c\n"),), max_tokens=8
)


async def text(service: Any, request: InfillRequest = REQUEST) -> tuple[str, Done]:
    async with asyncio.timeout(PATIENCE), aclosing(service.infill(request)) as events:
        found = [event async for event in events]
    assert isinstance(found[-1], Done)
    return "".join(event.text for event in found if isinstance(event, Chunk)), found[-1]


# The local model in the server's place


@asynccontextmanager
async def standing_in(
    far: str, near: str, token: str | None = None
) -> AsyncIterator[tuple[remote.Failover, list[float]]]:
    """A service of two, and the clock by which it looks for the first again."""
    now = [0.0]

    async def local() -> Client:
        return Client(Endpoint(url=near))

    found = remote.Failover(Client(Endpoint(url=far, token=token)), local, lambda: now[0])
    try:
        yield found, now
    finally:
        await found.close()


async def test_the_local_model_answers_while_the_server_is_away_and_says_so() -> None:
    async with (
        served(talkative(words=("near",))) as near,
        served(talkative(words=("far",))) as far,
        standing_in(far.url, near.url) as (both, now),
    ):
        assert (await text(both))[0] == "far" and both.notice is None
        far.service.end()
        async with asyncio.timeout(PATIENCE):
            while (await text(both))[0] != "near":
                pass
        assert both.notice is not None and far.url in both.notice and "on this machine answers" in both.notice
        port = far.address[1]
        await asyncio.sleep(0.3)
        async with served(talkative(words=("back",)), port=port):
            assert (await text(both))[0] == "near"  # it is not looked for with each key
            now[0] += 1000
            async with asyncio.timeout(PATIENCE):
                while (await text(both))[0] != "back":
                    await asyncio.sleep(0.02)
            assert both.notice is None


async def test_no_key_waits_for_a_server_that_is_down() -> None:
    listener = socket.create_server(("127.0.0.1", 0))  # accepts and never answers
    silent = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with served(talkative(words=("near",))) as near, standing_in(silent, near.url) as (both, now):
        both.notice = "away"
        for _ in range(3):
            now[0] += 1000
            assert (await text(both))[0] == "near"
    listener.close()


async def test_a_token_that_was_revoked_is_told_and_the_local_model_answers() -> None:
    token, grant = granted()
    known = {grant.id: grant}
    async with (
        served(talkative(words=("near",))) as near,
        served(talkative(words=("far",)), lambda: known) as far,
        standing_in(far.url, near.url, token) as (both, _),
    ):
        assert (await text(both))[0] == "far"
        known.clear()
        assert (await text(both))[0] == "near"
        assert both.notice is not None and "revoked" in both.notice


async def test_a_full_server_is_not_called_away() -> None:
    token, grant = granted(concurrency=1)
    busy = ScriptedEngine()
    async with (
        served(talkative(words=("near",))) as near,
        served(busy, grants(grant)) as far,
        standing_in(far.url, near.url, token) as (both, _),
    ):
        client = Client(Endpoint(url=far.url, token=token))
        first = asyncio.create_task(text(client))
        assert await asyncio.to_thread(busy.begun.wait, PATIENCE)
        assert (await text(both))[0] == "near" and both.notice is None
        busy.gate.set()
        await first
        await client.close()


async def test_a_request_at_fault_is_refused_by_the_server_and_by_nobody_else() -> None:
    near = talkative()
    async with served(near) as close, served() as far, standing_in(far.url, close.url) as (both, _):
        with pytest.raises(Refused):
            await text(both, msgspec.structs.replace(REQUEST, max_tokens=100_000))
        assert both.notice is None and not near.calls


async def test_an_expired_token_is_told_once_in_the_editor_and_the_local_model_answers(tmp_path: Path) -> None:
    token, grant = granted(expires=1.0)

    def sit(user: Settings, url: str) -> list[Any]:
        environment = daemons.environment(user, LACUNA_SERVER=url, LACUNA_TOKEN=token)
        with Editor(tmp_path, env=environment, command=isolation.command("--stdio")) as editor:
            editor.start({"status": True})
            editor.open("def add(a, b):\n    return \n")
            editor.wait(lambda one: one.get("method") == "lacuna/status" and one["params"]["state"] == "ready")
            for _ in range(2):
                assert isinstance(editor.reply(editor.ask(1, 11, kind=1))["result"], list)
            return editor.seen

    async with served(None, grants(grant)) as here:
        with daemons.settings(tiny.write(tmp_path / "model"), tmp_path / "cache") as user:
            seen = await asyncio.to_thread(sit, user, here.url)
    (shown,) = [one["params"]["message"] for one in seen if one.get("method") == "window/showMessage"]
    assert "the token has expired" in shown and "on this machine answers" in shown and token not in shown
    reasons = [one["params"]["reason"] for one in seen if one.get("method") == "lacuna/status"]
    assert any(reason and "expired" in reason for reason in reasons)


async def test_where_nobody_may_take_its_place_a_missing_server_is_an_error(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path, remote=Remote("http://127.0.0.1:1", fallback=False))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        await remote.connect(settings)


@pytest.mark.parametrize("shares", [False, True])
async def test_a_workspace_is_told_to_a_server_only_where_that_is_wanted(shares: bool) -> None:
    token, grant = granted()
    async with served(talkative(words=("x",)), grants(grant)) as far:
        client = remote.of(Remote(far.url, token, share_memory=shares))
        try:
            learnt = await client.learn(Lesson("id", {"a.py": "colour = 'teal'\n"}))
        finally:
            await client.close()
    assert (learnt.tokens > 0) is shares


async def test_what_might_go_into_a_prompt_is_not_shown_to_a_server_to_be_counted() -> None:
    client = Client(Endpoint(url="http://127.0.0.1:1"))  # where nobody listens
    assert await client.count(["colour = 'teal'"]) is None
    await client.close()


async def test_a_password_in_an_address_is_told_nobody() -> None:
    client = Client(Endpoint(url="http://me:secret@127.0.0.1:1/there"))
    with pytest.raises(Unreachable) as told:
        await client.health()
    await client.close()
    assert "secret" not in str(told.value) and "127.0.0.1:1/there" in str(told.value)


# Engines of other projects


@asynccontextmanager
async def foreign(manner: Manner, url: str, token: str | None = None) -> AsyncIterator[ExternalEngine]:
    client = ExternalEngine(Endpoint(url=url, token=token), manner)
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("engine", ["openai", "llama.cpp"])
async def test_an_engine_is_asked_in_its_own_protocol(engine: Any) -> None:
    scripted = talkative(words=("x", " = 1\n", "y\n", "z"))
    token, grant = granted()
    async with served(scripted, grants(grant)) as here, foreign(Manner(engine), here.url, token) as client:
        assert (await client.health()).model == "scripted"
        assert (await client.learn(Lesson("w", {"a": "b"}))).tokens == 0
        written, done = await text(client)
        assert (written, done.finish) == ("x = 1\ny\nz", "stop")
        assert await text(client, msgspec.structs.replace(REQUEST, max_lines=2)) == ("x = 1\ny", done_of("stop"))
    read = scripted.tokenizer._inner.decode(list(scripted.calls[0].prompt), skip_special_tokens=False)
    assert "import c\n" in read and "def f(a):\n    " in read and "f(1)" in read


async def test_an_engines_line_that_leaves_something_open_is_gone_on_with() -> None:
    opening = msgspec.structs.replace(REQUEST, max_lines=1, open_lines=3)
    for words, expected in (("f(", "\n    a", ",\n)", "\ng"), "f(\n    a,\n)"), (("x", "\ny"), "x"):
        async with served(talkative(words=words)) as here, foreign(Manner("openai"), here.url) as client:
            assert await text(client, opening) == (expected, done_of("stop"))


def done_of(finish: str) -> Any:
    class Same:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Done) and other.finish == finish

        __hash__ = None  # type: ignore[assignment]

    return Same()


async def test_a_template_lays_the_prompt_out() -> None:
    scripted = talkative()
    manner = Manner("openai", fim="<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>")
    request = InfillRequest("me", "a.py", "d = {suffix}", "{prefix}")  # braces of the user's own stay
    async with served(scripted) as here, foreign(manner, here.url) as client:
        await text(client, request)
    read = scripted.tokenizer._inner.decode(list(scripted.calls[0].prompt), skip_special_tokens=False)
    assert read.endswith("<|suffix|>{prefix}<|prefix|>d = {suffix}")


async def test_an_engine_that_dawdles_gives_what_there_is_at_the_deadline() -> None:
    scripted = ScriptedEngine()
    async with served(scripted) as here, foreign(Manner("openai"), here.url) as client:
        written, done = await text(client, msgspec.structs.replace(REQUEST, deadline_ms=200.0))
        assert (written, done.finish) == ("", "deadline")
        async with asyncio.timeout(PATIENCE):
            while here.service.worker.busy:
                await asyncio.sleep(0.01)
    assert scripted.finished == ["cancelled"]


async def test_an_engines_no_is_told() -> None:
    token, grant = granted()
    async with served(None, grants(grant)) as here:
        async with foreign(Manner("openai"), here.url) as stranger:
            with pytest.raises(Denied, match="asks for a token"):
                await text(stranger)
        async with foreign(Manner("openai", "gpt-9"), here.url, token) as client:
            with pytest.raises(ProtocolMismatch, match="there is scripted"):
                await client.health()
            with pytest.raises(Refused, match="no such model"):
                await text(client)


# The real one, where there is one


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    assert LLAMA is not None
    python, model = LLAMA.split(" ")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [python, "-m", "llama_cpp.server", "--model", model, "--port", str(port), "--n_ctx", "512"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.skipif(not LLAMA, reason="LACUNA_TEST_LLAMA names no Python with llama-cpp-python and no GGUF file")
@pytest.mark.parametrize("fim", [None, "{suffix}{prefix}"])
async def test_the_server_of_llama_cpp_python_answers(llama: str, fim: str | None) -> None:
    async with foreign(Manner("openai", fim=fim), llama) as client:
        await until_up(client.health)
        written, done = await text(client)
        assert written and done.finish in ("stop", "length")
        one_line, _ = await text(client, msgspec.structs.replace(REQUEST, max_lines=1, max_tokens=32))
        assert "\n" not in one_line


async def until_up(look: Callable[[], Any]) -> None:
    async with asyncio.timeout(6 * PATIENCE):
        while True:
            try:
                await look()
                return
            except Unreachable:
                await asyncio.sleep(0.2)
