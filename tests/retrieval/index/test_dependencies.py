"""What is really installed is found where each language keeps it, when an import needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.index import index
from retrieval.search import search
from retrieval.search.search import Query, Snippet
from tests.retrieval.checking import CARET, files, write


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "GOPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modcache"))
    monkeypatch.setenv("CARGO_HOME", str(tmp_path / "cargo"))


def found(root: Path, fixture: str) -> list[Snippet]:
    """What is found at the fixture's caret, best first."""
    write(root, fixture)
    path, text = next((path, text) for path, text in files(fixture).items() if CARET in text)
    return list(search.rank(Query(path, text.replace(CARET, ""), text.index(CARET)), index.build(root)))


def test_a_virtual_environments_package_is_read_through_its_re_exports(tmp_path: Path) -> None:
    (best, *_) = found(
        tmp_path / "root",
        """
        === .venv/lib/python3.12/site-packages/web/__init__.py
        from ._client import Client
        === .venv/lib/python3.12/site-packages/web/_client.py
        class Client:
            \"\"\"Talks.\"\"\"
            def send(self, request: str, *, retry: bool = False) -> bytes:
                return b""
        === main.py
        from web import Client
        client = Client()
        client.▮
        """,
    )
    assert best.path == "web/_client.py"
    assert best.text.startswith('class Client:\n    """Talks."""\n    def send(self, request: str, *, retry: bool')


def test_stubs_come_before_sources(tmp_path: Path) -> None:
    (best, *_) = found(
        tmp_path / "root",
        """
        === .venv/lib/python3.12/site-packages/web/__init__.py
        def get(url): ...
        === .venv/lib/python3.12/site-packages/web-stubs/__init__.pyi
        def get(url: str) -> bytes: ...
        === main.py
        import web
        web.get▮
        """,
    )
    assert best.text == "def get(url: str) -> bytes:\n"


def test_the_workspace_comes_before_what_is_installed(tmp_path: Path) -> None:
    (best, *_) = found(
        tmp_path / "root",
        """
        === .venv/lib/python3.12/site-packages/web.py
        def get(installed): ...
        === web.py
        def get(ours): ...
        === main.py
        import web
        web.get▮
        """,
    )
    assert best.text == "def get(ours):\n"


def test_type_declarations_of_node_modules_are_read(tmp_path: Path) -> None:
    snippets = found(
        tmp_path / "root",
        """
        === node_modules/web/package.json
        { "name": "web", "main": "./dist/index.js", "types": "./dist/index.d.ts" }
        === node_modules/web/dist/index.d.ts
        export { Client } from "./client";
        === node_modules/web/dist/client.d.ts
        export declare class Client { send(request: string): Promise<void>; }
        === node_modules/@types/old/index.d.ts
        export function legacy(x: number): string;
        === src/main.ts
        import { Client } from "web";
        import { legacy } from "old";
        legacy(1);
        const c = new Client▮
        """,
    )
    assert [one.path for one in snippets[:2]] == ["web/dist/client.d.ts", "@types/old/index.d.ts"]
    assert "send(request: string): Promise<void>" in snippets[0].text


def test_the_go_module_cache_is_read_at_the_required_version(tmp_path: Path) -> None:
    for version, name in (("v1.0.0", "Old"), ("v1.2.0", "New")):
        module = tmp_path / "modcache/github.com/!acme" / f"web@{version}"
        write(module, f"=== sub/c.go\npackage sub\nfunc {name}(x int) {{}}\n")
    (best, *_) = found(
        tmp_path / "root",
        """
        === go.mod
        module example.com/app
        require (
          github.com/Acme/web v1.2.0
        )
        === main.go
        package main
        import "github.com/Acme/web/sub"
        func main() { sub.Old(1); sub.New▮ }
        """,
    )
    assert best.text == "func New(x int)\n"


def test_cargos_sources_are_read_at_the_locked_version(tmp_path: Path) -> None:
    for version, name in (("0.9.1", "older"), ("1.0.0", "newer")):
        crate = tmp_path / "cargo/registry/src/index" / f"web-client-{version}"
        write(crate, f"=== src/lib.rs\npub fn {name}(x: u8) {{}}\n")
    (best, *_) = found(
        tmp_path / "root",
        """
        === Cargo.toml
        [package]
        name = "app"
        === Cargo.lock
        [[package]]
        name = "web-client"
        version = "0.9.1"
        === src/main.rs
        use web_client::{older, newer};
        fn main() { older▮ }
        """,
    )
    assert (best.names, best.text) == (("older",), "pub fn older(x: u8)\n")
