"""A workspace's code is told to the service once it is read, and again when the service is another one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from lsp_server.editor.document import Position
from lsp_server.editor.session import Edit, Session
from lsp_server.related.connection import Connection
from lsp_server.related.indexing import Indexing
from lsp_server.related.ngram_sync import NgramSync, workspace
from model_runtime.protocol import Lesson
from tests.lsp.serve import Scripted


class Taught:
    """An editor's indexing of one folder, taught to a scripted service."""

    def __init__(self, tmp_path: Path) -> None:
        self.root, self.log = tmp_path / "root", tmp_path / "service.log"
        self.root.mkdir()
        self.indexing = Indexing(tmp_path / "cache")
        self.connection = Connection(self._connect)
        self.session = Session()
        self.session.add_folder(self.root.as_uri())
        ngram_sync = NgramSync(self.connection, self.session.writing)
        self.tasks: list[asyncio.Task[None]] = []
        self.indexing.recited = lambda root, texts: self.tasks.append(asyncio.create_task(ngram_sync.send(root, texts)))
        self.connection.opened = self.indexing.recite

    async def _connect(self) -> Scripted:
        return Scripted({"answers": []}, self.log)

    def lessons(self) -> list[Lesson]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        notes = [json.loads(line) for line in lines]
        return [
            Lesson(note["workspace"], note["texts"], note.get("more", False))
            for note in notes
            if note["what"] == "learn"
        ]

    async def until(self, reached: Callable[[list[Lesson]], bool]) -> list[Lesson]:
        async with asyncio.timeout(20):
            while not reached(self.lessons()):
                await asyncio.sleep(0.01)
        return self.lessons()

    async def close(self) -> None:
        await self.indexing.close()
        await self.connection.close()


async def test_a_folder_is_taught_once_read_and_a_saved_file_again(tmp_path: Path) -> None:
    taught = Taught(tmp_path)
    (taught.root / "a.py").write_text("colour = 'teal'\n")
    await taught.connection.open()
    await taught.indexing.start(str(taught.root))
    (first,) = await taught.until(lambda lessons: len(lessons) == 1)
    assert first == Lesson(workspace(str(taught.root)), {"a.py": "colour = 'teal'\n"})
    (taught.root / "a.py").write_text("colour = 'rust'\n")
    taught.indexing.touched(str(taught.root), "a.py")
    lessons = await taught.until(lambda lessons: len(lessons) == 2)
    assert lessons[1].texts == {"a.py": "colour = 'rust'\n"}
    await taught.close()


async def test_a_line_that_is_saved_half_written_is_not_taught(tmp_path: Path) -> None:
    taught = Taught(tmp_path)
    file, uri = taught.root / "a.py", (taught.root / "a.py").as_uri()
    file.write_text("colour = 'teal'\n\nprint(colour)\n")
    await taught.connection.open()
    await taught.indexing.start(str(taught.root))
    await taught.until(lambda lessons: len(lessons) == 1)
    taught.session.open(uri, "python", 1, file.read_text())
    here = Position(1, 0)
    taught.session.change(uri, 2, [Edit("shade = col", here, here)])
    assert taught.session.snapshot(uri, Position(1, 11)) is not None
    for saved, cursor, learnt in (
        ("colour = 'teal'\nshade = col\nprint(colour)\n", here, "colour = 'teal'\nprint(colour)\n"),
        ("colour = 'teal'\nshade = colour\nprint(colour)\n", Position(2, 0), None),
    ):
        file.write_text(saved)
        taught.session.snapshot(uri, cursor)
        before = len(taught.lessons())
        taught.indexing.touched(str(taught.root), "a.py")
        lessons = await taught.until(lambda lessons, before=before: len(lessons) > before)
        assert lessons[-1].texts == {"a.py": learnt or saved}
    await taught.close()


async def test_a_service_that_was_found_anew_is_taught_everything(tmp_path: Path) -> None:
    taught = Taught(tmp_path)
    (taught.root / "a.py").write_text("colour = 'teal'\n")
    await taught.indexing.start(str(taught.root))
    async with asyncio.timeout(20):
        while not taught.tasks:  # told while there was no service: nobody learnt it
            await asyncio.sleep(0.01)
    assert taught.lessons() == []
    await taught.connection.open()
    assert await taught.until(lambda lessons: len(lessons) == 1)
    await taught.close()


def test_the_id_says_nothing_of_the_folder_and_no_folder_has_none() -> None:
    assert workspace(None) == ""
    assert workspace("/home/me/secret-plans") == workspace("/home/me/secret-plans") != workspace("/home/me")
    assert "secret" not in workspace("/home/me/secret-plans")
