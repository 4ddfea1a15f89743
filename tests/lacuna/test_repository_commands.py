"""Index, search, context and purge as a user meets them: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lacuna import isolation, purge
from lacuna.completion import tokenizer_of
from lacuna.settings import Settings
from model_runtime import manifest
from retrieval.index import index
from tests import daemons, tiny
from tests.lsp.scripted_editor import Editor
from tests.retrieval.checking import write
from tests.small_model import SMALL

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
    with daemons.settings(SMALL, tmp_path / "cache") as settings:
        yield settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "repository", FILES)
    (tmp_path / "repository" / ".git").mkdir()
    return tmp_path / "repository"


def run(
    user: Settings, *arguments: str, cwd: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        isolation.command(*arguments),
        env=environment or daemons.environment(user, XDG_DATA_HOME=str(user.cache.parent / "data")),
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
    assert best["tokens"] == tokenizer_of(user.model_directory, manifest.read(user.model_directory)).count(best["text"])


def test_what_stands_above_the_window_of_a_long_file_is_part_of_the_context(user: Settings, root: Path) -> None:
    methods = "".join(f"    def step_{n}(self, order: Order) -> int:\n        return {n}\n\n" for n in range(120))
    text = f"from shop.models import Order\n\nclass Desk:\n{methods}    def last(self, order: Order):\n        order."
    (root / "shop" / "long.py").write_text(text + "\n")
    line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    done = run(user, "context", f"shop/long.py:{line}:{column}", "--json", cwd=root)
    (*others, own) = json.loads(done.stdout)
    assert (own["path"], own["source"]) == ("shop/long.py", "file")
    assert "from shop.models import Order" in own["text"]
    assert "shop/models.py" in [one["path"] for one in others]


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


@pytest.mark.parametrize("size", [16_000, 100_000])
def test_a_full_disk_is_one_clear_line(user: Settings, root: Path, tmp_path: Path, size: int) -> None:
    many = "".join(f"def f{number}(x):\n    return x + {number}\n\n\n" for number in range(3000))
    (root / "many.py").write_text(many)
    limited = ["sh", "-c", f'ulimit -f {size // 512}; trap "" XFSZ; exec "$@"', "sh"]
    done = subprocess.run(
        [*limited, *isolation.command("index")],
        env=daemons.environment(user, LACUNA_CACHE_DIR=str(tmp_path / "small")),
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        timeout=daemons.PATIENCE,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert "room" in done.stderr and str(tmp_path / "small") in done.stderr


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


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a user without any setting, whose home and temporary folder are a test's own."""
    with tempfile.TemporaryDirectory(prefix="lacuna-test-") as temporary:  # short enough for a socket
        own = {name: value for name, value in os.environ.items() if not name.startswith(("LACUNA_", "XDG_"))}
        (tmp_path / "home").mkdir()
        yield {**own, "HOME": str(tmp_path / "home"), "TMPDIR": temporary}
        for path in Path(temporary).glob("*/*.lock"):
            daemons.kill(path)


def files(*folders: str | Path) -> list[Path]:
    return [path for folder in folders for path in Path(folder).rglob("*")]


def test_nothing_is_left_of_two_daemons_an_editor_and_a_team_server_after_a_purge(
    home: dict[str, str], root: Path, user: Settings, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        model = tiny.write(tmp_path / name, seed=len(name))
        with Editor(tmp_path, env={**home, "LACUNA_MODEL": str(model)}, command=isolation.command("--stdio")) as editor:
            uri = (root / "shop" / "api.py").as_uri()
            editor.start({"status": True, "journal": "code"}, folder=root.as_uri())
            editor.open((root / "shop" / "api.py").read_text(), uri)
            editor.wait(lambda one: one.get("method") == "lacuna/status" and one["params"]["state"] == "ready")
            editor.reply(editor.ask(4, 4, kind=1, uri=uri))
            editor.until(lambda: any(path.name == index.DATABASE for path in files(home["HOME"])))
            assert editor.leave() == 0
    for command in (("index",), ("token", "create", "somebody"), ("model", "use", str(model)), ("stats", "--web")):
        done = run(user, *command, cwd=root, environment={**home, "BROWSER": "true"})
        assert done.returncode == 0, done.stderr
    written = {path.name for path in files(home["HOME"], home["TMPDIR"])}
    assert {index.DATABASE, "tokens.json", "config.toml", "stats.html"} <= written
    assert len([name for name in written if name.endswith(".lock")]) >= 4, "two daemons, a workspace, the tokens"
    before = files(root)
    done = run(user, "purge", "--yes", cwd=root, environment=home)
    assert done.returncode == 0, done.stderr
    assert [path for path in files(home["HOME"], home["TMPDIR"]) if not path.is_dir()] == []
    assert not any("lacuna" in path.name for path in files(home["HOME"], home["TMPDIR"]))
    assert files(root) == before


def test_every_place_that_is_purged_is_named_in_the_privacy_page(user: Settings, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text("utf-8")
    nobody = {"HOME": str(tmp_path)}
    for path, _ in purge._places(user, nobody):
        known = path.name if path.suffix in (".json", ".toml") or path.parent == user.cache else path.parent.name
        assert known in page or path.name in page, f"docs/privacy.md does not name {path}"
