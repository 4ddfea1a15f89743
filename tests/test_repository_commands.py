"""Index, search, context and purge as a user meets them: a process, its output, its exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lacuna import isolation, purge
from lacuna.settings import Settings
from retrieval import index
from tests import daemons
from tests.retrieval.checking import write

FILES = """
=== shop/models.py
class Order:
    \"\"\"What a customer bought.\"\"\"
    def total(self, tax: float) -> float:
        password = "hunter2-Horse9"
        return tax
=== shop/api.py
from shop.models import Order

def create():
    order = Order()
    order.total(0.2)
"""


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Settings]:
    with daemons.settings(tmp_path / "no-model", tmp_path / "cache") as settings:
        yield settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "repository", FILES)
    (tmp_path / "repository" / ".git").mkdir()
    return tmp_path / "repository"


def run(user: Settings, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = daemons.environment(user, XDG_DATA_HOME=str(user.cache.parent / "data"))
    return subprocess.run(
        isolation.command(*arguments),
        env=environment,
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        timeout=daemons.PATIENCE,
    )


def test_a_repository_is_indexed_where_editors_look_for_it(user: Settings, root: Path) -> None:
    done = run(user, "index", "--json", cwd=root)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["files"], told["definitions"]) == (2, 3)
    assert Path(told["folder"]) == index.directory(user.cache, root)
    assert (Path(told["folder"]) / index.DATABASE).is_file()


def test_a_search_prints_the_definition_first(user: Settings, root: Path) -> None:
    done = run(user, "search", "Order", "--path", str(root), cwd=root.parent)
    assert done.stdout.startswith("shop/models.py  Order\n    class Order:\n")


def test_the_context_is_what_an_editor_would_be_given(user: Settings, root: Path) -> None:
    done = run(user, "context", "shop/api.py:5:11", "--json", cwd=root)
    assert done.returncode == 0, done.stderr
    (*_, best) = json.loads(done.stdout)
    assert (best["path"], best["source"]) == ("shop/models.py", "import")
    assert best["text"].startswith('class Order:\n    """What a customer bought."""\n    def total(self, tax: float)')
    assert "hunter2" not in done.stdout


def test_commands_read_while_an_editor_writes(user: Settings, root: Path) -> None:
    from retrieval import lock

    run(user, "index", cwd=root)
    held = lock.acquire(index.directory(user.cache, root) / index.LOCK)
    assert held is not None
    try:
        assert "class Order" in run(user, "search", "Order", cwd=root).stdout
    finally:
        lock.release(held)


@pytest.mark.parametrize(
    "arguments", [("index", "nowhere"), ("search", "x", "--path", "nowhere"), ("context", "no:1:1")]
)
def test_what_cannot_be_is_one_clear_line(user: Settings, root: Path, arguments: tuple[str, ...]) -> None:
    done = run(user, *arguments, cwd=root)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_purge_leaves_nothing_of_ours_and_everything_else(user: Settings, root: Path) -> None:
    run(user, "index", cwd=root)
    (user.cache / "prefill-1-2.onnx").write_bytes(b"graph")
    (user.cache / "mine.txt").write_text("not Lacuna's")
    diary = user.cache.parent / "data" / "lacuna" / "journal"
    diary.mkdir(parents=True)
    (diary / "2026-11-21.jsonl").write_text("{}\n")
    refused = run(user, "purge", cwd=root)
    assert refused.returncode == 1
    assert (user.cache / "index").is_dir()
    done = run(user, "purge", "--yes", cwd=root)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in user.cache.iterdir()] == ["mine.txt"]
    assert not diary.exists()
    assert purge.find(user, {"HOME": str(user.cache.parent / "home")}) == []
    assert run(user, "purge", "--yes", cwd=root).stdout == "there is nothing\n"
