"""The load benchmark counts what it says it counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks import crowd as crowd_of
from benchmarks import llama_server
from benchmarks.crowd import Crowd, Request, write
from benchmarks.load import Ours, summary
from benchmarks.workspace import copied, package
from model_runtime import manifest
from model_runtime.client.endpoint import Endpoint
from model_runtime.errors import Overloaded
from model_runtime.protocol import InfillRequest, prompt
from model_runtime.tokenizer import Tokenizer
from tests.server.serving import PATIENCE, granted, grants, served, talkative
from tests.small_model import SMALL


def test_only_text_that_comes_in_time_counts_as_an_answer() -> None:
    samples = [
        Request(0, 0.0, first_ms=100.0, whole_ms=200.0),
        Request(0, 4.0, first_ms=400.0, whole_ms=500.0),
        Request(0, 9.0, first_ms=299.0),
        Request(1, 1.0, refused=True),
        Request(1, 2.0),
    ]
    found = summary(samples, 2, 10.0)
    assert found["answers_per_s"] == 0.2
    assert found["refused_share"] == 0.2 and found["cut_off_share"] == 0.2
    assert found["first_ms"]["max"] == 400.0 and found["whole_ms"]["n"] == 2
    assert found["longest_unserved_s"] == 9.0
    assert found["answers_per_typist"] == {"least": 0, "median": 2, "most": 2}


def test_due_is_what_was_left_alone_and_had_something_to_say() -> None:
    samples = [
        Request(0, 0.0, first_ms=100.0, whole_ms=200.0),
        Request(0, 1.0, first_ms=100.0, left_ms=160.0),
        Request(0, 2.0, left_ms=400.0),  # the model had not come to it yet
        Request(0, 3.0, refused=True),
        Request(0, 4.0, whole_ms=1001.0),  # nothing until the deadline
        Request(0, 5.0, whole_ms=50.0),  # nothing to say
        Request(0, 6.0, left_ms=100.0),  # the next key came too soon
    ]
    assert summary(samples, 1, 10.0, deadline=1000.0)["due"] == {"n": 5, "answered_share": 0.4}


async def test_each_typist_asks_by_themselves_and_the_next_key_cuts_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd_of, "_START", 0.1)
    asked: list[InfillRequest] = []
    cut: list[str] = []

    class Slow:
        async def ask(self, request: InfillRequest) -> AsyncIterator[str]:
            asked.append(request)
            if request.client == "typist-1":
                raise Overloaded("busy")
            try:
                yield " "
                await asyncio.sleep(PATIENCE)
            finally:
                cut.append(request.client)

        async def close(self) -> None:
            cut.append("closed")

    crowd = Crowd()
    async with asyncio.timeout(3 * PATIENCE):
        await write(copied(package("httpx"), tmp_path, 1), 2, 2.0, lambda _: Slow(), crowd)
    assert {one.client for one in asked} == {"typist-0", "typist-1"}
    assert cut.count("typist-0") == sum(one.who == 0 for one in crowd.samples) and cut.count("closed") == 2
    assert all(one.refused for one in crowd.samples if one.who == 1)
    assert all(one.first_ms is None and one.whole_ms is None for one in crowd.samples if one.who == 0)
    assert crowd.keys >= len(crowd.samples) > 2


async def test_a_typist_is_answered_by_a_server_with_a_token() -> None:
    token, grant = granted()
    async with served(talkative(), grants(grant)) as here:
        asker = Ours(Endpoint(url=here.url, token=token))
        assert "".join([piece async for piece in asker.ask(InfillRequest("me", "a.py", "x", "\n"))]) == "return a"
        await asker.close()


def test_the_other_server_is_given_the_same_prompt_in_words() -> None:
    described = manifest.read(SMALL)
    tokenizer = Tokenizer.load(SMALL, vocab_size=described.shape.vocab_size, split_lines=True)
    fim = described.fim
    markers = {tokenizer.special(name): name for name in (fim.file, fim.prefix, fim.suffix) if name is not None}
    request = InfillRequest("me", "pkg/a.py", "import os\n\n", "\nprint(x)\n", "x = os.")
    tokens = prompt(request, tokenizer, described).tokens
    words = "".join(markers.get(token) or tokenizer.decode([token]) for token in tokens)
    assert words == llama_server.laid_out(request, fim)
