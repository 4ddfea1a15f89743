"""Service and client over a real Unix socket: streams, superseding, cancellation, deadlines, faults, drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from benchmarks import footprint
from model_runtime import protocol
from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.engine.sequence import Cancel, Generation
from model_runtime.errors import ModelError, Overloaded, ProtocolMismatch, Refused, Unreachable
from model_runtime.manifest import Fim
from model_runtime.opening import open_engine
from model_runtime.prompt import Snippet
from model_runtime.protocol import Chunk, Done, Health, InfillRequest, Lesson
from model_runtime.service import battery as power
from model_runtime.service import engine_worker, service, starvation
from model_runtime.service.engine_worker import Writer
from model_runtime.service.server import serve
from model_runtime.service.service import Identity
from tests import tiny
from tests.scripted import Script, ScriptedEngine

PATIENCE = 10.0  # seconds that a wait in these tests may take at most


def ask(client: str = "editor", **more: object) -> InfillRequest:
    return msgspec.convert(
        {"client": client, "path": "a.py", "prefix": "def f(a):\n    ", "suffix": "\n", **more}, InfillRequest
    )


@pytest.fixture
def path() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="lacuna-") as folder:  # tmp_path may be too long for a socket
        yield f"{folder}/s"


@asynccontextmanager
async def served(path: str, opener: Callable[[], Writer], idle_exit: float | None = None) -> AsyncIterator[Client]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    client = Client(Endpoint(socket=path))
    serving = asyncio.create_task(serve(opener, listener, Identity("build", "scripted"), idle_exit=idle_exit))
    try:
        yield client
    finally:
        with contextlib.suppress(Unreachable):
            await client.drain()
        await client.close()
        async with asyncio.timeout(PATIENCE):
            await serving


async def collect(client: Client, request: InfillRequest) -> tuple[str, Done]:
    text = ""
    async with asyncio.timeout(PATIENCE), aclosing(client.infill(request)) as events:
        async for event in events:
            if isinstance(event, Done):
                return text, event
            text += event.text
    raise AssertionError("a stream ended without Done")


async def begun(engine: ScriptedEngine) -> None:
    assert await asyncio.to_thread(engine.begun.wait, PATIENCE)
    engine.begun.clear()


def open_scripted(**more: object) -> ScriptedEngine:
    engine = ScriptedEngine(**more)  # type: ignore[arg-type]
    engine.gate.set()
    return engine


async def test_tokens_stream_and_end_with_what_they_cost(path: str) -> None:
    async with served(path, open_scripted) as client:
        events = [event async for event in client.infill(ask())]
    assert events[:-1] == [Chunk("return ", -0.5), Chunk("a", -0.5)]
    done = events[-1]
    assert isinstance(done, Done)
    assert done.finish == "end"
    assert done.usage.generated == 2
    assert done.usage.prompt_tokens > 0


async def test_the_service_counts_in_tokens_of_its_model(path: str) -> None:
    texts = ["", "def f(a):\n", "\f𝒳\r\n"]
    async with served(path, open_scripted) as client:
        assert await client.count(texts) == tuple(map(open_scripted().tokenizer.count, texts))
        with pytest.raises(Refused, match="is not texts"):
            await client.count([1])  # type: ignore[list-item]


async def test_one_connection_serves_one_request_after_the_other(path: str) -> None:
    ways = []

    class Watched(Client):
        async def _open(self, request: InfillRequest) -> httpx.Response:
            response = await super()._open(request)
            ways.append(response.extensions["network_stream"])
            return response

    async with served(path, open_scripted):
        client = Watched(Endpoint(socket=path))
        for _ in range(3):
            await collect(client, ask())
        await client.close()
    assert len(ways) == 3
    assert len({id(way) for way in ways}) == 1


async def test_a_request_whose_client_is_closed_meanwhile_finds_nobody(path: str) -> None:
    engine = ScriptedEngine()
    async with served(path, lambda: engine):
        client = Client(Endpoint(socket=path))
        waiting = asyncio.create_task(collect(client, ask()))
        await begun(engine)
        await client.close()
        with pytest.raises(Unreachable):
            await waiting
        engine.gate.set()


async def test_the_first_token_comes_before_the_last_is_made(path: str) -> None:
    gates = [threading.Event() for _ in range(2)]

    class Slow(ScriptedEngine):
        def is_open(self) -> bool:
            said = self.under_way[0].said
            return gates[min(said, 1)].wait(PATIENCE)

    async with served(path, Slow) as client:
        gates[0].set()
        async with asyncio.timeout(PATIENCE), aclosing(client.infill(ask())) as events:
            assert await anext(events) == Chunk("return ", -0.5)
            gates[1].set()
            assert await anext(events) == Chunk("a", -0.5)


async def test_a_request_reaches_the_engine_as_it_was_asked(path: str) -> None:
    engine = open_scripted()
    request = ask(
        max_tokens=7, max_lines=2, open_lines=5, floor=4, temperature=0.5, seed=3, stop=["\n\n"], typed="re",
        context=[{"path": "b.py", "text": "def g(): ..."}],
    )  # fmt: skip
    async with served(path, lambda: engine) as client:
        await collect(client, request)
    call = engine.calls[0]
    assert call.prompt == protocol.prompt(request, engine.tokenizer, engine.manifest).tokens
    assert (call.max_tokens, call.max_lines, call.temperature, call.seed, call.stop) == (7, 2, 0.5, 3, ("\n\n",))
    assert (call.heal, call.floor, call.open_lines) == (True, 4, 5)
    assert request.context == (Snippet("b.py", "def g(): ..."),)


async def test_a_model_that_cannot_infill_is_stopped_by_the_suffix(path: str) -> None:
    engine = open_scripted()
    engine.manifest = msgspec.structs.replace(engine.manifest, fim=Fim("prefix", ("<|end|>",)))
    async with served(path, lambda: engine) as client:
        await collect(client, ask(suffix=")\n\nprint(1)\nmore\n", stop=["\n\n"]))
    assert engine.calls[0].stop == ("\n\n", "\nprint(1)\n")
    assert engine.tokenizer.decode(engine.calls[0].prompt) == "def f(a):\n    "


async def test_a_newer_request_of_a_client_supersedes_its_older_one(path: str) -> None:
    engine = ScriptedEngine()
    async with served(path, lambda: engine) as client:
        older = asyncio.create_task(collect(client, ask()))
        await begun(engine)
        newer = asyncio.create_task(collect(client, ask()))
        async with asyncio.timeout(PATIENCE):
            assert (await older)[1].finish == "cancelled"
        engine.gate.set()
        assert (await newer)[1].finish == "end"


async def test_a_superseded_request_that_still_waits_ends_at_once(path: str) -> None:
    engine = ScriptedEngine()
    async with served(path, lambda: engine) as client:
        running = asyncio.create_task(collect(client, ask("one")))
        await begun(engine)
        waiting = asyncio.create_task(collect(client, ask("two")))
        await until_taken(client, 2)
        newest = asyncio.create_task(collect(client, ask("two")))
        async with asyncio.timeout(PATIENCE):
            assert (await waiting)[1].finish == "cancelled"
        assert not running.done()
        engine.gate.set()
        assert (await running)[1].finish == "end"
        assert (await newest)[1].finish == "end"


async def test_another_client_supersedes_nobody(path: str) -> None:
    engine = ScriptedEngine()
    async with served(path, lambda: engine) as client:
        tasks = [asyncio.create_task(collect(client, ask(name))) for name in ("one", "two", "", "")]
        await until_taken(client, 4)
        engine.gate.set()
        assert [(await task)[1].finish for task in tasks] == ["end"] * 4


async def test_a_prefetch_neither_supersedes_nor_is_superseded(path: str) -> None:
    engine = ScriptedEngine()
    async with served(path, lambda: engine) as client:
        asked = (ask(), ask(priority="prefetch", max_tokens=0), ask(max_tokens=0))
        first, prefetch, newer = (asyncio.create_task(collect(client, one)) for one in asked)
        async with asyncio.timeout(PATIENCE):
            assert (await prefetch)[1].finish == "cancelled"
        engine.gate.set()
        assert (await first)[1].finish == (await newer)[1].finish == "end"
    assert engine.calls[-1].priority == "prefetch", "who asks for no tokens is in no hurry"


@pytest.mark.skipif(sys.platform != "linux", reason="the C library does it on Linux only")
async def test_memory_that_nobody_uses_is_given_back(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_runtime.service.server.TIDY", 0.1)
    async with served(path, open_scripted) as client:
        await client.health()
        blocks = [bytes(2000) for _ in range(50_000)]
        full = footprint.resident_mb(os.getpid())
        kept = blocks[::64]  # between which the others lie
        del blocks
        async with asyncio.timeout(PATIENCE):
            while footprint.resident_mb(os.getpid()) > full - 60:
                await asyncio.sleep(0.05)
        assert len(kept) == len(range(0, 50_000, 64))


async def test_on_battery_nothing_is_done_ahead(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    battery = tmp_path / "BAT0"
    battery.mkdir()
    (battery / "type").write_text("Battery\n")
    (battery / "status").write_text("Discharging\n")
    monkeypatch.setattr(power.on_battery, "__defaults__", (tmp_path,))
    engine = open_scripted()
    async with served(path, lambda: engine) as client:
        assert (await collect(client, ask(max_tokens=0)))[1].finish == "cancelled"
        assert (await collect(client, ask()))[1].finish == "end"
    assert len(engine.calls) == 1


async def test_a_prompt_is_as_long_as_there_is_time_to_read_and_the_rest_is_read_in_the_pause(path: str) -> None:
    engine = open_scripted(pace=0.001)
    engine.manifest = msgspec.structs.replace(
        engine.manifest, shape=msgspec.structs.replace(engine.manifest.shape, context_length=2048)
    )
    request = ask(prefix="x = 1\n" * 150, max_tokens=8, deadline_ms=1500)
    whole = protocol.prompt(request, engine.tokenizer, engine.manifest).tokens
    async with served(path, lambda: engine) as client:
        await collect(client, request)
        async with asyncio.timeout(PATIENCE):
            while len(engine.finished) < 2:
                await asyncio.sleep(0.005)
        engine.pace = 0.0
        await collect(client, request)
    short, later, again = engine.calls
    assert len(short.prompt) * 0.001 <= 0.4 * 1.5 < len(whole) * 0.001
    assert short.prompt[-60:] == whole[-60:], "what is nearest to the cursor stays"
    assert (later.prompt, later.max_tokens, later.priority) == (whole, 0, "prefetch")
    assert again.prompt == whole


class Busy(ScriptedEngine):
    """Has no time for what nobody waits for."""

    def begin(self, generation: Generation, cancel: Cancel) -> Script:
        if not generation.max_tokens:
            raise Overloaded("others go first")
        return super().begin(generation, cancel)


async def test_a_prompt_that_cannot_be_read_in_the_pause_costs_nobody_an_answer(path: str) -> None:
    engine = Busy(pace=0.001)
    engine.gate.set()
    engine.manifest = msgspec.structs.replace(
        engine.manifest, shape=msgspec.structs.replace(engine.manifest.shape, context_length=2048)
    )
    request = ask(prefix="x = 1\n" * 150, max_tokens=8, deadline_ms=1500)
    async with served(path, lambda: engine) as client:
        for _ in range(3):
            assert (await collect(client, request))[1].finish == "end"


async def test_several_texts_come_apart_and_together(path: str, tmp_path: Path) -> None:
    model = tiny.write(tmp_path / "model")
    async with served(path, lambda: open_engine(model, cache=tmp_path / "cache")) as client:
        alone, _ = await collect(client, ask(max_tokens=8))
        events = [event async for event in client.infill(ask(max_tokens=8, n=3))]
    *chunks, done = events
    assert isinstance(done, Done)
    texts = ["".join(one.text for one in chunks if isinstance(one, Chunk) and one.index == at) for at in range(3)]
    assert texts[0] == alone
    assert len(set(texts)) == 3
    assert len(done.others) == 2


def test_what_was_added_to_the_protocol_is_not_seen_by_who_does_not_ask_for_it() -> None:
    assert msgspec.json.encode(Chunk("a", -0.5)) == b'{"text":"a","logprob":-0.5}'
    assert b"others" not in msgspec.json.encode(Done("end"))
    assert msgspec.json.encode(ask()) == b'{"client":"editor","path":"a.py","prefix":"def f(a):\\n    ","suffix":"\\n"}'


async def test_closing_the_stream_cancels_the_work(path: str) -> None:
    engine = ScriptedEngine(words=("a",) * 50)
    async with served(path, lambda: engine) as client:
        task = asyncio.create_task(collect(client, ask()))
        await begun(engine)
        task.cancel()
        async with asyncio.timeout(PATIENCE):
            while not engine.finished:
                await asyncio.sleep(0.005)
    assert engine.finished == ["cancelled"]


async def test_the_deadline_counts_from_arrival_in_the_queue_too(path: str) -> None:
    engine = ScriptedEngine()
    async with served(path, lambda: engine) as client:
        running = asyncio.create_task(collect(client, ask("one")))
        await begun(engine)
        text, done = await collect(client, ask("two", deadline_ms=30))
        assert (text, done.finish) == ("", "deadline")
        assert done.usage.queue_ms > 15  # a busy loop counts from a little earlier
        engine.gate.set()
        assert (await running)[1].finish == "end"


async def test_the_deadline_ends_what_runs(path: str) -> None:
    engine = ScriptedEngine()
    async with served(path, lambda: engine) as client:
        assert (await collect(client, ask(deadline_ms=30)))[1].finish == "deadline"
    assert engine.finished == ["deadline"]


async def test_a_full_queue_refuses(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_worker.EngineWorker.__init__, "__defaults__", (2,))
    engine = ScriptedEngine()
    async with served(path, lambda: engine) as client:
        first = asyncio.create_task(collect(client, ask("one")))
        await begun(engine)
        second = asyncio.create_task(collect(client, ask("two")))
        await until_taken(client, 2)
        with pytest.raises(Overloaded, match="try again"):
            await collect(client, ask("three"))
        engine.gate.set()
        assert (await first)[1].finish == (await second)[1].finish == "end"


async def test_who_starves_is_let_in_where_the_house_is_full_and_goes_first(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "EngineWorker", lambda metrics: engine_worker.EngineWorker(metrics, capacity=1))
    monkeypatch.setattr(starvation, "LONG", 0.0)
    engine = ScriptedEngine()
    async with served(path, lambda: engine) as client:
        first = asyncio.create_task(collect(client, ask("")))  # who gives no name never starves
        await begun(engine)
        second = asyncio.create_task(collect(client, ask("two")))
        await until_taken(client, 2)
        with pytest.raises(Overloaded):
            await collect(client, ask("three"))
        engine.gate.set()
        assert (await first)[1].finish == (await second)[1].finish == "end"
    assert [call.starved for call in engine.calls] == [False, True]


async def test_requests_that_come_while_the_engine_opens_are_answered(path: str) -> None:
    opened = threading.Event()

    def opener() -> Writer:
        assert opened.wait(PATIENCE)
        return open_scripted()

    async with served(path, opener) as client:
        assert (await client.health()).state == "loading"
        task = asyncio.create_task(collect(client, ask()))
        await until_taken(client, 1)
        opened.set()
        assert (await task)[0] == "return a"
        assert (await client.health()).state == "ready"


async def test_an_engine_that_does_not_open_ends_the_service(path: str) -> None:
    def opener() -> Writer:
        raise ModelError("no weights; restore the model directory")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ModelError, match="no weights"):
                await serve(opener, listener, Identity("build", "scripted"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (ModelError("the graph is broken; restore it"), "the graph is broken; restore it"),
        (RuntimeError("secret user code"), r"the engine failed \(RuntimeError\)"),
    ],
)
async def test_a_fault_of_the_engine_is_told_and_the_next_request_works(
    path: str, fault: Exception, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_scripted(fault=fault)
    async with served(path, lambda: engine) as client:
        with pytest.raises(Refused, match=message):
            await collect(client, ask())
        engine.fault = None
        assert (await collect(client, ask()))[0] == "return a"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"client": 1}', b"\xff", msgspec.json.encode(ask()).replace(b"client", b"clienz")],
)
async def test_a_body_that_is_no_infill_is_a_bad_request(path: str, body: bytes) -> None:
    async with served(path, open_scripted) as client:
        response = await post(client, body)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "bad_request"


@pytest.mark.parametrize(
    "field",
    [
        {"n": 4},
        {"priority": "first"},
        {"max_tokens": -1},
        {"temperature": 9.0},
        {"top_p": 0.0},
        {"deadline_ms": -1},
        {"max_lines": 0},
        {"unknown": 1},
    ],
)
async def test_a_value_out_of_range_is_named(path: str, field: dict[str, float]) -> None:
    async with served(path, open_scripted) as client:
        response = await post(client, msgspec.json.encode({**msgspec.to_builtins(ask()), **field}))
        assert response.status_code == 400
        assert next(iter(field)) in response.json()["error"]["message"]


@pytest.mark.parametrize("route", ["/infill", "/memory", "/count", "/drain"])
async def test_a_method_that_a_path_does_not_take_is_told_which_it_takes(path: str, route: str) -> None:
    async with served(path, open_scripted) as client:
        response = await raw(client, "GET", route)
        assert response.status_code == 405 and response.headers["allow"] == "POST"
        assert response.json()["error"]["type"] == "bad_request"


@pytest.mark.parametrize(("route", "body"), [("/infill", ask()), ("/memory", Lesson("w", {"a": "b"}))])
async def test_a_route_that_was_given_no_owner_refuses(route: str, body: object) -> None:
    behind = service.Service(Identity("test", "tiny"))
    bare = httpx.ASGITransport(app=Starlette(routes=behind.routes()))
    async with httpx.AsyncClient(transport=bare, base_url="http://nobody") as http:
        response = await http.post(route, content=msgspec.json.encode(body))
        assert response.status_code == 401 and response.json()["error"]["type"] == "denied"
        assert "owner" in response.json()["error"]["message"]
        assert (await http.get("/health")).status_code == 200


async def test_a_body_without_end_is_refused(path: str) -> None:
    async with served(path, open_scripted) as client:
        response = await post(client, b"x" * (protocol.BODY_LIMIT + 1))
        assert response.status_code == 413 and response.headers["connection"] == "close"
        assert response.json()["error"]["type"] == "too_large"
        assert "at most" in response.json()["error"]["message"]


async def test_a_prompt_without_room_is_a_bad_request(path: str) -> None:
    async with served(path, open_scripted) as client:
        with pytest.raises(Refused, match="ask for at most"):
            await collect(client, ask(max_tokens=tiny.SHAPE.context_length))


async def test_metrics_count_by_finish_and_hold_no_text(path: str) -> None:
    async with served(path, open_scripted) as client:
        await collect(client, ask())
        text = (await raw(client, "GET", "/metrics")).text
        assert (await client.health()).requests == 1
    assert 'lacuna_requests_total{finish="end"} 1.0' in text
    assert 'lacuna_tokens_total{stage="generated"} 2.0' in text
    assert "a.py" not in text


async def test_a_drain_lets_what_runs_finish_and_takes_no_more(path: str) -> None:
    engine = ScriptedEngine()
    async with served(path, lambda: engine) as client:
        running = asyncio.create_task(collect(client, ask("one")))
        await begun(engine)
        assert (await client.drain()).state == "draining"
        with pytest.raises(Unreachable):
            await collect(client, ask("two"))
        engine.gate.set()
        assert (await running)[0] == "return a"
    assert engine.closed


async def test_a_drain_does_not_wait_for_ever(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "DRAIN_SECONDS", 0.1)
    engine = ScriptedEngine()
    async with served(path, lambda: engine) as client:
        running = asyncio.create_task(collect(client, ask()))
        await begun(engine)
        await client.drain()
        assert (await running)[1].finish == "cancelled"
    assert engine.finished == ["cancelled"]
    assert engine.closed


async def test_the_service_ends_when_idle(path: str) -> None:
    async with served(path, open_scripted, idle_exit=0.2) as client:
        await collect(client, ask())
        async with asyncio.timeout(PATIENCE):
            while True:
                await asyncio.sleep(0.05)
                try:
                    await client.health()
                except Unreachable:
                    return


async def test_nobody_there_is_unreachable(path: str) -> None:
    client = Client(Endpoint(socket=path))
    with pytest.raises(Unreachable, match="nobody answers at"):
        await client.health()
    with pytest.raises(Unreachable):
        await collect(client, ask())
    await client.close()


async def test_a_connection_gone_stale_is_opened_anew(path: str) -> None:
    async with served(path, open_scripted) as client:
        assert (await collect(client, ask()))[0] == "return a"
        kept = Client(client.endpoint)
        await kept.health()
    Path(path).unlink()
    async with served(path, open_scripted):
        assert (await collect(kept, ask()))[0] == "return a"
        await kept.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnope", ProtocolMismatch),
        (b"220 mail.example ESMTP\r\n", Unreachable),
    ],
)
async def test_somebody_else_at_the_socket_is_told_apart(path: str, answer: bytes, error: type[Exception]) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    client = Client(Endpoint(socket=path))
    async with await asyncio.start_unix_server(talk, path):
        with pytest.raises(error):
            await client.health()
        await client.close()


async def test_another_protocol_is_a_mismatch(path: str) -> None:
    health = Health(protocol=99, build="b", model="m", pid=1, state="ready", requests=0)
    body = msgspec.json.encode(health)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    client = Client(Endpoint(socket=path))
    async with await asyncio.start_unix_server(talk, path):
        with pytest.raises(ProtocolMismatch, match="protocol 99"):
            await client.health()
        await client.close()


async def test_a_service_that_breaks_off_is_unreachable(path: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1f\r\n{"text":"a","logprob":-0.12345}\n\r\n'
        )
        await writer.drain()
        writer.close()

    client = Client(Endpoint(socket=path))
    async with await asyncio.start_unix_server(talk, path):
        with pytest.raises(Unreachable):
            await collect(client, ask())
        await client.close()


async def test_a_typed_key_costs_its_own_tokens(path: str, tmp_path: Path) -> None:
    model = tiny.write(tmp_path / "model")
    async with served(path, lambda: open_engine(model, cache=tmp_path / "cache")) as client:
        _, cold = await collect(client, ask(max_tokens=4))
        _, warm = await collect(client, ask(max_tokens=4, typed="r"))
    assert cold.usage.reused == 0
    assert warm.usage.prompt_tokens == cold.usage.prompt_tokens + 1
    assert warm.usage.prefilled <= 4


async def test_random_cancels_leave_nothing_behind(path: str, tmp_path: Path) -> None:
    model = tiny.write(tmp_path / "model")
    chance = random.Random(7)
    endings: list[str] = []

    async def type_away(client: Client, name: str) -> None:
        for key in range(12):
            request = ask(name, typed="a" * key, max_tokens=chance.randrange(24))
            try:
                async with asyncio.timeout(chance.choice([0.0, 0.001, 0.01, PATIENCE])):
                    endings.append((await collect(client, request))[1].finish)
            except TimeoutError:
                endings.append("gone")

    async with served(path, lambda: open_engine(model, cache=tmp_path / "cache")) as client:
        others = [Client(client.endpoint) for _ in range(7)]
        await asyncio.gather(*(type_away(one, str(at)) for at, one in enumerate([client, *others])))
        _, done = await collect(client, ask("last", max_tokens=3))
        for other in others:
            await other.close()
        metrics = (await raw(client, "GET", "/metrics")).text
    assert done.usage.generated == 3
    assert len(endings) == 8 * 12
    assert {"gone", "length"} <= set(endings) <= {"gone", "length", "end", "cancelled"}
    assert "lacuna_waiting 0.0" in metrics


async def until_taken(client: Client, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await client.health()).requests < count:
            await asyncio.sleep(0.005)


async def raw(client: Client, method: str, path: str, body: bytes = b"") -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(uds=client.endpoint.socket)
    async with httpx.AsyncClient(transport=transport, base_url="http://lacuna") as http:
        return await http.request(method, path, content=body, timeout=PATIENCE)


async def post(client: Client, body: bytes) -> httpx.Response:
    return await raw(client, "POST", "/infill", body)
