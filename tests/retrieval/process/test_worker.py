"""The indexing process and its owner: real processes, real pipes, a real store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from retrieval.errors import StoreBroken, WorkerError
from retrieval.index import entries, index, store, vectors
from retrieval.process.worker import Worker
from retrieval.search.search import Query
from tests.retrieval.checking import definitions, write

FILES = """
=== a.py
def helper(x: int) -> int: pass
=== b.py
from a import helper
"""
USE = "from a import helper\nhelper"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "root", FILES)
    return tmp_path / "root"


@pytest_asyncio.fixture
async def worker(root: Path, tmp_path: Path) -> AsyncIterator[Worker]:
    made = Worker(root, tmp_path / "index")
    yield made
    await made.close()


async def settled(worker: Worker) -> None:
    """Waits until every file is read."""
    await worker.start()
    async with asyncio.timeout(20):
        while not worker.progress.is_complete:
            await asyncio.sleep(0.01)


async def names(worker: Worker, text: str = USE, path: str = "b.py") -> list[str]:
    answer = await worker.ranked(Query(path, text, len(text)))
    return [name for snippet in definitions(answer.snippets) for name in snippet.names]


async def until(worker: Worker, text: str, expected: list[str], touched: tuple[str, ...] = ()) -> None:
    """Asks until the answer is the expected one."""
    async with asyncio.timeout(20):
        while await names(worker, text) != expected:
            worker.touched(touched)
            await asyncio.sleep(0.01)


async def test_a_question_is_answered_from_another_process(worker: Worker) -> None:
    await settled(worker)
    assert await names(worker) == ["helper"]
    assert worker.pid not in (None, os.getpid())


async def test_a_buffer_overrides_the_disk_until_it_is_closed(worker: Worker) -> None:
    await settled(worker)
    worker.changed("a.py", "def other(): pass\n")
    assert await names(worker) == []
    assert await names(worker, "from a import other\nother") == ["other"]
    worker.changed("a.py", None)
    assert await names(worker) == ["helper"]


async def test_a_changed_a_new_and_a_deleted_file_are_noticed(worker: Worker, root: Path) -> None:
    await settled(worker)
    (root / "a.py").write_text("def changed(): pass\n")
    (root / "new.py").write_text("def fresh(): pass\n")
    worker.touched(["a.py", "new.py"])
    await until(worker, "from a import changed\nfrom new import fresh\nchanged", ["changed", "fresh"])
    (root / "new.py").unlink()
    worker.touched(["new.py"])
    await until(worker, "from a import changed\nfrom new import fresh\nchanged", ["changed"])


async def test_a_second_start_reads_nothing_again(worker: Worker, root: Path, tmp_path: Path) -> None:
    await settled(worker)
    await worker.close()
    kept = index.Index(root, store.open_store(tmp_path / "index" / index.DATABASE))
    assert list(index.refreshing(kept)) == []
    kept.store.close()


async def test_questions_are_answered_while_files_are_still_being_read(worker: Worker, root: Path) -> None:
    for number in range(150):
        (root / f"m{number:03}.py").write_text("\n".join(f"def f{number}_{n}(x: int): return x" for n in range(50)))
    use = "from m149 import f149_7\nf149_7"
    first = await worker.ranked(Query("b.py", use, len(use)))
    assert first.partial
    await settled(worker)
    later = await worker.ranked(Query("b.py", use, len(use)))
    assert not later.partial
    assert definitions(later.snippets)[0].names == ("f149_7",)


def test_a_file_that_takes_too_long_to_parse_is_known_by_its_words() -> None:
    text = "def helper(x):\n    return tangent(x)\n" * 200
    assert entries.read("a.py", text).definitions
    hasty = entries.read("a.py", text, seconds=0.0)
    assert hasty.definitions == ()
    assert "tangent" in hasty.chunks[0].text


@pytest.mark.parametrize("mark", ["(", "{\n", "a<", "if (a) {\n", "def f(", '"\\\n'])
def test_a_file_of_marks_is_read_in_its_time(mark: str) -> None:
    text = (mark * (600_000 // len(mark))).replace("(" * 100, "(" * 100 + "\n")
    began = time.thread_time()
    entry = entries.read("a.py", text + "def last(): pass\n", seconds=0.2)
    assert len(entry.definitions) <= 1
    assert entry.chunks
    assert time.thread_time() - began < 10  # minutes without a limit


@pytest.mark.parametrize(
    ("name", "line"),
    [("Aa.java", "a<" * 9), ("Aa.py", "/*" * 100)],
    ids=["looks at the clock once in minutes", "crashes"],
)
async def test_a_file_that_no_limit_stops_is_given_up_and_the_others_are_read(
    worker: Worker, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    (root / name).write_text(f"{line}\n" * (600_000 // len(line)))
    monkeypatch.setattr("retrieval.process.worker.ANSWER_SECONDS", 3.0)
    monkeypatch.setattr("retrieval.process.worker.REST_SECONDS", 0.5)
    failed = 0
    async with asyncio.timeout(60):
        while not (worker.progress.is_complete and await names(worker) == ["helper"]):
            try:
                await worker.ranked(Query("b.py", USE, len(USE)))
            except WorkerError:
                failed += 1
                await asyncio.sleep(0.2)
    assert failed > 0 or name == "Aa.py", "on a slow machine its time is up before a file crashes"
    await worker.close()
    kept = store.open_store(tmp_path / "index" / index.DATABASE)
    assert set(kept.stamps()) == {name, "a.py", "b.py"}
    assert not (tmp_path / "index" / index.AT_HAND).exists()


async def test_one_process_writes_and_another_reads(worker: Worker, root: Path, tmp_path: Path) -> None:
    await settled(worker)
    second = Worker(root, tmp_path / "index")
    try:
        assert await names(second) == ["helper"]
        assert second.progress.writing is False
        await worker.close()  # the reader becomes the writer
        (root / "a.py").write_text("def later(): pass\n")
        await until(second, "from a import later\nlater", ["later"], touched=("a.py",))
    finally:
        await second.close()


async def test_a_killed_process_is_started_again_and_told_of_the_buffers(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.process.worker.REST_SECONDS", 0.0)
    await settled(worker)
    worker.changed("a.py", "def other(): pass\n")
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(10):
        while worker.pid is not None:
            await asyncio.sleep(0.01)
    assert await names(worker, "from a import other\nother") == ["other"]
    assert worker.pid != first


async def test_the_process_ends_when_its_owner_does(worker: Worker) -> None:
    await settled(worker)
    process = worker._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_missing_root_is_told_and_not_tried_again_at_once(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "nowhere", tmp_path / "index")
    try:
        with pytest.raises(WorkerError, match="not a directory"):
            await worker.ranked(Query("a.py", "x", 1))
        with pytest.raises(WorkerError, match="not a directory"):
            await worker.ranked(Query("a.py", "x", 1))
    finally:
        await worker.close()


async def test_an_index_killed_at_any_moment_stays_whole(root: Path, tmp_path: Path) -> None:
    """LACUNA_TEST_KILLS=50 for the long form."""
    for number in range(40):
        body = "\n".join(f"def f{number}_{n}(x: int): return x" for n in range(50))
        (root / f"m{number}.py").write_text(body)
    expected = {f"m{number}.py": 50 for number in range(40)} | {"a.py": 1, "b.py": 0}
    chance = random.Random(7)
    directory = tmp_path / "index"
    for _ in range(int(os.environ.get("LACUNA_TEST_KILLS", "8"))):
        heard = asyncio.Event()
        worker = Worker(root, directory, lambda _, heard=heard: heard.set())  # type: ignore[misc]
        await worker.start()
        async with asyncio.timeout(20):
            await heard.wait()
        await asyncio.sleep(chance.uniform(0, 0.3))
        if worker.pid is not None:
            os.kill(worker.pid, signal.SIGKILL)
        await worker.close()
        _is_whole(directory, expected)
        if chance.random() < 0.5:  # the next process must see what changed in between
            (root / "m0.py").write_text("\n".join(f"def f0_{n}(x: int): return {chance.random()}" for n in range(50)))
    last = Worker(root, directory)
    await settled(last)
    assert (await names(last, "from m7 import f7_3\nf7_3"))[0] == "f7_3"
    await last.close()
    kept = store.open_store(directory / index.DATABASE)
    assert {path: len(kept.definitions(path)) for path in kept.stamps()} == expected
    found = kept.mentioning({"f7_3": 1.0}, 5)
    assert [one.path for one in found] == ["m7.py"]


def _is_whole(directory: Path, expected: dict[str, int]) -> None:
    """Every file that the store knows is known entirely, and the vectors, if they are read, are those of its chunks."""
    with sqlite3.connect(directory / index.DATABASE) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    kept = store.open_store(directory / index.DATABASE)
    known = {path: len(kept.definitions(path)) for path in kept.stamps()}
    assert known.items() <= expected.items()
    near = vectors.read(directory, kept)
    if near is not None:
        found = [kept.chunk(number) for number, _ in near.near("f7_3 f7_4", 5)]
        assert all(one is None or one.path in expected for one in found)
    kept.close()


async def test_files_that_change_are_noticed_without_being_told(root: Path, tmp_path: Path) -> None:
    worker = Worker(root, tmp_path / "index", watch=True)
    try:
        await settled(worker)
        async with asyncio.timeout(20):
            while await names(worker, "from fresh import newcomer\nnewcomer") != ["newcomer"]:
                (root / "fresh.py").write_text(f"def newcomer(): pass\n# {random.random()}\n")
                await asyncio.sleep(0.1)
    finally:
        await worker.close()


async def test_a_new_rule_takes_files_out(worker: Worker, root: Path) -> None:
    await settled(worker)
    (root / ".gitignore").write_text("a.py\n")
    worker.touched([".gitignore"])
    await until(worker, USE, [])


async def test_a_deleted_folder_is_forgotten(worker: Worker, root: Path) -> None:
    (root / "pkg").mkdir()
    (root / "pkg" / "c.py").write_text("def inside(): pass\n")
    await settled(worker)
    await until(worker, "from pkg.c import inside\ninside", ["inside"])
    shutil.rmtree(root / "pkg")
    worker.touched(["pkg"])
    await until(worker, "from pkg.c import inside\ninside", [])


async def test_a_database_that_breaks_under_a_running_process_is_made_anew(
    worker: Worker, root: Path, tmp_path: Path
) -> None:
    await settled(worker)
    path = tmp_path / "index" / index.DATABASE
    for name in (path, path.with_name(path.name + "-wal")):
        if name.exists():
            with name.open("r+b") as stream:
                stream.write(b"\xff" * name.stat().st_size)
    (root / "a.py").write_text("def changed(): pass\n")
    worker.touched(["a.py"])
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(WorkerError):
                if await names(worker, "from a import changed\nchanged") == ["changed"]:
                    break
            await asyncio.sleep(0.05)


def test_a_damaged_database_is_found_and_built_again(root: Path, tmp_path: Path) -> None:
    index.opened(root, tmp_path / "index").store.close()
    path = tmp_path / "index" / index.DATABASE
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreBroken, match="damaged"):
        store.open_store(path)
    again = index.opened(root, tmp_path / "index")
    assert again.store.count() == 2


def test_a_database_of_another_version_is_built_again(root: Path, tmp_path: Path) -> None:
    index.opened(root, tmp_path / "index").store.close()
    path = tmp_path / "index" / index.DATABASE
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 9999")
    with pytest.raises(StoreBroken, match="schema 9999"):
        store.open_store(path)
    assert index.opened(root, tmp_path / "index").store.count() == 2
