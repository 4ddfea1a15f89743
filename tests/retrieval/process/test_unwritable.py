"""Where nothing can be kept on disk, related code is found all the same, from memory, and the status says so."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from lacuna import settings
from lacuna.errors import SettingsError
from lsp_server.editor.session import Session
from lsp_server.related.connection import Connection, Service
from lsp_server.related.indexing import Indexing
from lsp_server.status.status import state
from retrieval.process.worker import Query, Worker

TEXT = "from store import load_invoice\n\nload_invoice("
QUERY = Query("a.py", TEXT, len(TEXT), (0, len(TEXT)))


def put(root: Path) -> None:
    root.mkdir()
    (root / "store.py").write_text("def load_invoice(number):\n    return number\n")


def unwritable(folder: Path, how: str) -> Path:
    """A folder for the index that cannot be made, or in which no index can be."""
    if how == "a file":
        (folder / "file").write_text("")
        return folder / "file" / "index"
    if how == "a system folder":
        return Path("/proc/index")
    if how == "a folder in the database's place":
        (folder / "cache" / "index.sqlite" / "x").mkdir(parents=True)
        return folder / "cache"
    (folder / "cache" / "writer.lock").mkdir(parents=True)
    return folder / "cache"


HOW = ["a file", "a system folder", "a folder in the database's place", "a folder in the lock's place"]


@pytest.mark.parametrize("how", HOW)
async def test_it_lives_in_memory_and_follows_changes(tmp_path: Path, how: str) -> None:
    put(tmp_path / "project")
    worker = Worker(tmp_path / "project", unwritable(tmp_path, how))
    async with asyncio.timeout(30):
        while not (answer := await worker.ranked(QUERY)).snippets or answer.partial:
            await asyncio.sleep(0.05)
        assert "load_invoice(number)" in answer.snippets[0].text
        assert worker.failure is not None and "memory" in worker.failure and "LACUNA_CACHE_DIR" in worker.failure
        (tmp_path / "project" / "store.py").write_text("def load_invoice(number, currency):\n    return number\n")
        worker.touched(["store.py"])
        assert "currency" in (await worker.ranked(QUERY)).snippets[0].text
        await worker.close()


async def test_the_status_says_so(tmp_path: Path) -> None:
    put(tmp_path / "project")
    (tmp_path / "cache").write_text("")
    indexing = Indexing(tmp_path / "cache")

    async def connect() -> Service:
        raise AssertionError("nobody asks")

    async with asyncio.timeout(30):
        await indexing.start(str(tmp_path / "project"))
        while indexing.notice is None or indexing.percent is not None:
            await asyncio.sleep(0.05)
    found = state(Session(), Connection(connect), indexing, thinking=False)
    assert "memory" in str(found["reason"])
    await indexing.close()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mapping[str, str]:
    """The environment of a user who has no home, and no entry in the list of users."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    return {}


def test_without_a_home_there_is_a_private_folder(nobody: Mapping[str, str], tmp_path: Path) -> None:
    assert settings.read_settings(nobody).cache.is_relative_to(tmp_path)
    (home,) = tmp_path.iterdir()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert settings.cache_folder(nobody) == home / ".cache/lacuna"
    assert settings.journal_folder(nobody).is_relative_to(home)


@pytest.mark.parametrize("trap", ["open to all", "a link"])
def test_a_folder_that_others_may_write_in_is_none(nobody: Mapping[str, str], tmp_path: Path, trap: str) -> None:
    place = tmp_path / f"lacuna-home-{os.geteuid()}"
    if trap == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir()
        place.chmod(0o777)
    with pytest.raises(SettingsError, match="no home folder"):
        settings.cache_folder(nobody)
