"""What a workspace taught, to whom it belongs, and how much of it is kept."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.errors import Refused
from model_runtime.opening import open_engine
from model_runtime.owner import LOCAL, NOBODY, of_token
from model_runtime.protocol import Chunk, InfillRequest, Lesson
from model_runtime.service.ngram_store import NgramStore
from model_runtime.service.server import serve
from model_runtime.service.service import Identity
from model_runtime.tokenizer import Tokenizer
from tests import tiny

TOKENIZER = Tokenizer(tiny.tokenizer(), split_lines=True)


def _follows(ngram_store: NgramStore, workspace: str, text: str) -> str | None:
    memory = ngram_store.of(LOCAL, workspace)
    if memory is None:
        return None
    return TOKENIZER.decode(known.likeliest for known in memory.draft(TOKENIZER.encode(text), 5))


def test_a_workspace_knows_its_own_texts_and_no_others() -> None:
    ngram_store = NgramStore(TOKENIZER.encode)
    ngram_store.learn(LOCAL, "one", {"a": "colour = teal"})
    ngram_store.learn(LOCAL, "two", {"a": "colour = rust"})
    assert _follows(ngram_store, "one", "colour = ") == "teal"
    assert _follows(ngram_store, "two", "colour = ") == "rust"
    assert ngram_store.of(LOCAL, "three") is None
    assert ngram_store.of(LOCAL, "") is None


def test_a_text_sent_again_replaces_the_old_one_and_an_empty_one_forgets() -> None:
    ngram_store = NgramStore(TOKENIZER.encode)
    ngram_store.learn(LOCAL, "one", {"a": "colour = teal", "b": "shape = disc"})
    ngram_store.learn(LOCAL, "one", {"a": "colour = rust"})
    assert _follows(ngram_store, "one", "colour = ") == "rust"
    assert ngram_store.learn(LOCAL, "one", {"a": ""}) == len("shape = disc")
    assert _follows(ngram_store, "one", "colour = ") in (None, "disc")
    assert _follows(ngram_store, "one", "shape = ") == "disc"


def test_nothing_is_sorted_before_the_last_of_several_lessons() -> None:
    ngram_store = NgramStore(TOKENIZER.encode)
    ngram_store.learn(LOCAL, "one", {"a": "colour = teal"}, more=True)
    assert ngram_store.of(LOCAL, "one") is None
    ngram_store.learn(LOCAL, "one", {"b": "shape = disc"})
    assert _follows(ngram_store, "one", "colour = ") == "teal"


def test_the_workspace_that_learnt_longest_ago_is_forgotten_first() -> None:
    ngram_store = NgramStore(TOKENIZER.encode, workspaces=2)
    for name in ("one", "two", "one", "three"):
        ngram_store.learn(LOCAL, name, {"a": "colour = teal"})
    assert [ngram_store.of(LOCAL, name) is None for name in ("one", "two", "three")] == [False, True, False]


def test_nobodys_workspace_is_forgotten_for_another_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_runtime.service.ngram_store.ALL", 3)
    ngram_store = NgramStore(TOKENIZER.encode, workspaces=2)
    anna, bert, carl = (of_token(name) for name in ("anna", "bert", "carl"))
    for owner, name in ((anna, "one"), (anna, "two"), (bert, "one")):
        assert ngram_store.learn(owner, name, {"a": "colour = teal"}) > 0
    assert ngram_store.learn(carl, "one", {"a": "colour = teal"}) == 0
    assert ngram_store.learn(bert, "two", {"a": "colour = teal"}) == 0
    assert ngram_store.learn(anna, "three", {"a": "colour = teal"}) > 0
    every = [(owner, name) for owner in (anna, bert, carl) for name in ("one", "two", "three")]
    kept = {key for key in every if ngram_store.of(*key) is not None}
    assert kept == {(anna, "two"), (anna, "three"), (bert, "one")}


def test_a_workspace_of_the_same_name_is_another_owners() -> None:
    ngram_store = NgramStore(TOKENIZER.encode)
    ngram_store.learn(of_token("anna"), "shop", {"a": "colour = teal"})
    assert ngram_store.of(of_token("anna"), "shop") is not None
    assert all(ngram_store.of(other, "shop") is None for other in (LOCAL, NOBODY, of_token("bert")))
    assert ngram_store.of(LOCAL, "anna/shop") is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.text(st.sampled_from("xyz\n"), max_size=40)), max_size=20))
def test_the_bound_is_honoured_and_the_newest_text_survives(lessons: list[tuple[str, str]]) -> None:
    ngram_store = NgramStore(TOKENIZER.encode, tokens=60)
    for name, text in lessons:
        known = ngram_store.learn(LOCAL, "one", {name: text})
        memory = ngram_store.of(LOCAL, "one")
        assert memory is not None
        assert known <= 60
        assert len(memory) <= 60
        if text:
            assert known >= len(text)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Path]:
    """The socket of a real service with a tiny model."""
    model = tiny.write(tmp_path / "model")
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    ready = asyncio.Event()
    task = asyncio.create_task(
        serve(
            lambda: open_engine(model, cache=tmp_path / "cache"),
            listener,
            Identity("test", "tiny"),
            ready=ready.set,
        )
    )
    async with asyncio.timeout(30):
        await ready.wait()
    yield path
    client = Client(Endpoint(socket=str(path)))
    await client.drain()
    await client.close()
    async with asyncio.timeout(30):
        await task


async def test_an_infill_that_names_its_workspace_follows_what_that_wrote(service: Path) -> None:
    client = Client(Endpoint(socket=str(service)))

    async def middle(workspace: str) -> str:
        request = InfillRequest("", "f.py", "the_quick_brown_fox(jumps, ", "", max_tokens=5, workspace=workspace)
        return "".join([event.text async for event in client.infill(request) if isinstance(event, Chunk)])

    learnt = await client.learn(Lesson("mine", {"other.py": "the_quick_brown_fox(jumps, over)\n" * 30}))
    assert learnt.tokens == 33 * 30
    assert await middle("mine") == "over)"
    assert await middle("another") == await middle("") != "over)"
    await client.close()


async def test_a_lesson_that_is_none_is_refused_with_the_reason(service: Path) -> None:
    client = Client(Endpoint(socket=str(service)))
    with pytest.raises(Refused, match="not a lesson"):
        await client.learn(Lesson("", {}))
    await client.close()
