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
from model_runtime.protocol import Chunk, InfillRequest, Lesson
from model_runtime.service.ngram_store import Memories
from model_runtime.service.server import serve
from model_runtime.service.service import Identity
from model_runtime.tokenizer import Tokenizer
from tests import tiny

TOKENIZER = Tokenizer(tiny.tokenizer(), split_lines=True)


def _follows(memories: Memories, workspace: str, text: str) -> str | None:
    memory = memories.of(workspace)
    if memory is None:
        return None
    return TOKENIZER.decode(known.likeliest for known in memory.draft(TOKENIZER.encode(text), 5))


def test_a_workspace_knows_its_own_texts_and_no_others() -> None:
    memories = Memories(TOKENIZER.encode)
    memories.learn("one", {"a": "colour = teal"})
    memories.learn("two", {"a": "colour = rust"})
    assert _follows(memories, "one", "colour = ") == "teal"
    assert _follows(memories, "two", "colour = ") == "rust"
    assert memories.of("three") is None
    assert memories.of("") is None


def test_a_text_sent_again_replaces_the_old_one_and_an_empty_one_forgets() -> None:
    memories = Memories(TOKENIZER.encode)
    memories.learn("one", {"a": "colour = teal", "b": "shape = disc"})
    memories.learn("one", {"a": "colour = rust"})
    assert _follows(memories, "one", "colour = ") == "rust"
    assert memories.learn("one", {"a": ""}) == len("shape = disc")
    assert _follows(memories, "one", "colour = ") in (None, "disc")
    assert _follows(memories, "one", "shape = ") == "disc"


def test_nothing_is_sorted_before_the_last_of_several_lessons() -> None:
    memories = Memories(TOKENIZER.encode)
    memories.learn("one", {"a": "colour = teal"}, more=True)
    assert memories.of("one") is None
    memories.learn("one", {"b": "shape = disc"})
    assert _follows(memories, "one", "colour = ") == "teal"


def test_the_workspace_that_learnt_longest_ago_is_forgotten_first() -> None:
    memories = Memories(TOKENIZER.encode, workspaces=2)
    for name in ("one", "two", "one", "three"):
        memories.learn(name, {"a": "colour = teal"})
    assert [memories.of(name) is None for name in ("one", "two", "three")] == [False, True, False]


def test_nobodys_workspace_is_forgotten_for_another_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_runtime.service.ngram_store.ALL", 3)
    memories = Memories(TOKENIZER.encode, workspaces=2)
    for name in ("anna/one", "anna/two", "bert/one"):
        assert memories.learn(name, {"a": "colour = teal"}) > 0
    assert memories.learn("carl/one", {"a": "colour = teal"}) == 0
    assert memories.learn("bert/two", {"a": "colour = teal"}) == 0
    assert memories.learn("anna/three", {"a": "colour = teal"}) > 0
    names = ("anna/one", "anna/two", "anna/three", "bert/one", "bert/two", "carl/one")
    assert [memories.of(name) is not None for name in names] == [False, True, True, True, False, False]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.text(st.sampled_from("xyz\n"), max_size=40)), max_size=20))
def test_the_bound_is_honoured_and_the_newest_text_survives(lessons: list[tuple[str, str]]) -> None:
    memories = Memories(TOKENIZER.encode, tokens=60)
    for name, text in lessons:
        known = memories.learn("one", {name: text})
        memory = memories.of("one")
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
