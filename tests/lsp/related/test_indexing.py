"""Related code of a real folder reaches the prompt, by a real indexing process; a long file is asked about in part."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from lsp_server.completion.completion import LOOKUP
from lsp_server.editor import window
from lsp_server.editor.document import Place, split
from lsp_server.editor.session import Snapshot
from lsp_server.related.context import BUDGET, Contexts
from lsp_server.related.indexing import ABOVE, HEAD, LONG, UNDER, Indexing, query

OTHER = "class Tariff:\n    def price_of(self, weight):\n        return weight * 3\n"
HERE = "from shop.tariff import Tariff\n\n\ndef total(weights):\n    tariff = Tariff()\n    return \n"


@pytest.fixture
async def indexing(tmp_path: Path) -> AsyncIterator[Indexing]:
    one = Indexing(tmp_path / "cache")
    yield one
    await one.close()


def snapshot(root: Path | None, text: str, line: int, column: int = 0) -> Snapshot:
    return Snapshot(
        uri="file:///shop/bill.py",
        root=None if root is None else str(root),
        path="shop/bill.py",
        language="python",
        version=1,
        lines=tuple(split(text)),
        cursor=Place(line, column),
    )


async def test_what_the_file_imports_is_found(tmp_path: Path, indexing: Indexing) -> None:
    shop = tmp_path / "project" / "shop"
    shop.mkdir(parents=True)
    (shop / "tariff.py").write_text(OTHER)
    here = snapshot(tmp_path / "project", HERE, 5, 11)
    told: list[int | None] = []
    indexing.changed = lambda: told.append(indexing.percent)
    async with asyncio.timeout(30):
        while not (found := await indexing.find(here, window.frame(here, None))).snippets or found.partial:
            await asyncio.sleep(0.05)
    assert [one.path for one in found.snippets] == ["shop/tariff.py"]
    assert "price_of" in found.snippets[0].text
    assert told[-1] is None, "nothing is left to read"
    assert all(percent is None or 0 <= percent <= 100 for percent in told)


async def test_what_fits_is_what_the_model_says_it_is_long(tmp_path: Path, indexing: Indexing) -> None:
    shop = tmp_path / "project" / "shop"
    shop.mkdir(parents=True)
    (shop / "tariff.py").write_text(OTHER)
    here = snapshot(tmp_path / "project", HERE, 5, 11)
    asked: list[str] = []

    async def long(texts: Sequence[str]) -> list[int]:
        asked.extend(texts)
        return [BUDGET if "price_of" in text else 1 for text in texts]

    async with asyncio.timeout(30):
        while (found := await indexing.find(here, window.frame(here, None))).partial or not found.snippets:
            await asyncio.sleep(0.05)
        indexing.counts = long
        assert (await indexing.find(here, window.frame(here, None))).snippets == ()
    assert "shop/tariff.py\n" in asked


async def test_a_file_that_changes_is_found_without_an_editor_that_tells(tmp_path: Path, indexing: Indexing) -> None:
    shop = tmp_path / "project" / "shop"
    shop.mkdir(parents=True)
    here = snapshot(tmp_path / "project", HERE, 5, 11)
    indexing.watch = True
    async with asyncio.timeout(30):
        while not (found := (await indexing.find(here, window.frame(here, None))).snippets):
            (shop / "tariff.py").write_text(OTHER)
            await asyncio.sleep(0.1)
    assert [one.path for one in found] == ["shop/tariff.py"]


async def test_a_key_does_not_wait_for_whoever_reads_other_files(tmp_path: Path, indexing: Indexing) -> None:
    project = tmp_path / "project"
    project.mkdir()
    await indexing.start(str(project))
    pid = indexing._roots[str(project)].worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        contexts = Contexts(indexing.find)
        here = snapshot(project, HERE, 5, 11)
        context = await contexts.of(here, window.frame(here, None), patience=LOOKUP)
        assert context.late, "what other files hold comes later, or never"
        contexts.close()
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_file_outside_every_folder_has_no_repository(indexing: Indexing) -> None:
    here = snapshot(None, HERE, 5)
    assert (await indexing.find(here, window.frame(here, None))).snippets == ()


@pytest.mark.parametrize("line", [0, HEAD - 1, HEAD + ABOVE - 1, HEAD + ABOVE + 1, 20_000, 39_999])
@pytest.mark.parametrize("lines", [LONG, 40_000])
def test_a_question_is_about_the_same_place_however_long_the_file(line: int, lines: int) -> None:
    line = min(line, lines - 1)
    here = snapshot(None, "".join(f"value_{at} = {at}\n" for at in range(lines)), line, 3)
    frame = window.frame(here, None)
    asked = query(here, frame)
    assert asked.text[asked.offset - 3 :].startswith(f"value_{line} = ")
    assert asked.text.startswith("value_0 = 0\n")
    assert asked.window is not None
    assert asked.text[slice(*asked.window)].startswith(frame.prefix)
    assert asked.text.count("\n") <= max(LONG, HEAD + ABOVE + UNDER)
