"""What is told of a workspace to whoever remembers it: its code, masked, the newest last, and nothing ignored."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from retrieval.index import masked_texts
from retrieval.process.messages import Texts
from retrieval.process.worker import Worker
from tests.retrieval.checking import write

KEY = "AKIA" + "Q7ZT3XW5LM6RB2VD"
FILES = f"""
=== old.py
OLD = 1
=== new.py
NEW = 2
=== secret.py
ACCESS = "{KEY}"
=== .gitignore
ignored.py
=== ignored.py
IGNORED = 3
"""


def _root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    write(root, FILES)
    for at, name in enumerate(("old.py", "secret.py", "new.py")):
        os.utime(root / name, (1_000_000 + at, 1_000_000 + at))
    return root


def test_the_newest_file_comes_last_and_an_ignored_one_never(tmp_path: Path) -> None:
    assert [path for path, _ in masked_texts.texts(_root(tmp_path))] == ["old.py", "secret.py", "new.py"]


def test_secrets_are_starred_out(tmp_path: Path) -> None:
    text = dict(masked_texts.texts(_root(tmp_path)))["secret.py"]
    assert text.startswith("ACCESS = ")
    assert KEY not in text


def test_what_does_not_fit_is_the_oldest(tmp_path: Path) -> None:
    assert [path for path, _ in masked_texts.texts(_root(tmp_path), characters=10)] == ["new.py"]


def test_one_file_is_told_alone_and_a_lost_or_ignored_one_as_empty(tmp_path: Path) -> None:
    root = _root(tmp_path)
    (root / "old.py").unlink()
    found = dict(masked_texts.texts(root, ("old.py", "new.py", "ignored.py")))
    assert found == {"old.py": "", "new.py": "NEW = 2\n", "ignored.py": ""}


async def test_the_indexing_process_recites_when_all_is_read(tmp_path: Path) -> None:
    told: list[Texts] = []
    worker = Worker(_root(tmp_path), tmp_path / "index", on_texts=told.append)
    await worker.start()
    worker.recite()
    worker.recite(["new.py"])
    async with asyncio.timeout(20):
        while not told or told[-1].more:
            await asyncio.sleep(0.01)
    await worker.close()
    texts = {path: text for one in told for path, text in one.texts.items()}
    assert list(texts) == ["old.py", "secret.py", "new.py"]
    assert KEY not in texts["secret.py"]
