"""A file is one file, whatever else leads to it: links, worktrees of its repository, what a build copies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lsp_server.editor.session import Session
from retrieval.index import index, workspace
from retrieval.search import search
from retrieval.search.search import Query


def put(root: Path, path: str, text: str = "x = 1\n") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def paths(root: Path) -> set[str]:
    found = {one.path for one in workspace.files(root)}
    everything = (os.path.relpath(os.path.join(at, name), root) for at, _, names in os.walk(root) for name in names)
    assert {one for one in everything if workspace.admitted(root, one)} == found
    return found


@pytest.mark.parametrize("place", ["wt/", ".worktrees/fix/", "src/checkouts/hotfix/", "a-branch/"])
def test_a_worktree_in_the_repository_is_not_part_of_it(tmp_path: Path, place: str) -> None:
    put(tmp_path, "app/main.go", "package app\n")
    put(tmp_path, place + "app/main.go", "package app\n")
    put(tmp_path, place + ".git", f"gitdir: {tmp_path}/.git/worktrees/one\n")
    assert paths(tmp_path) == {"app/main.go"}
    assert paths(tmp_path / place) == {"app/main.go"}, "opened itself it is what one works in"


def test_a_submodule_is_part_of_it(tmp_path: Path) -> None:
    put(tmp_path, "vendor/one/.git", "gitdir: ../../.git/modules/one\n")
    put(tmp_path, "vendor/one/a.rb")
    assert paths(tmp_path) == {"vendor/one/a.rb"}


@pytest.mark.parametrize(
    ("project", "copy", "kept"),
    [
        ("setup.py", "build/lib/pkg/a.py", "build/library/a.py"),
        ("pyproject.toml", "build/lib.linux-x86_64-3.11/pkg/a.py", "build/rules.py"),
        ("sub/setup.cfg", "sub/build/lib/pkg/a.py", "build/lib/a.py"),
        ("Cargo.toml", "target/package/one-0.1.0/src/lib.rs", "target/packages.rs"),
    ],
)
def test_what_a_build_copies_is_not_indexed(tmp_path: Path, project: str, copy: str, kept: str) -> None:
    put(tmp_path, project, "name = 'one'\n")
    put(tmp_path, copy)
    put(tmp_path, kept)
    assert copy not in paths(tmp_path)
    assert kept in paths(tmp_path)


@pytest.mark.parametrize(("link", "real"), [("a-link", "source"), ("zz", "source"), ("lib/current", "v2")])
def test_the_real_folder_wins_over_a_link_to_it(tmp_path: Path, link: str, real: str) -> None:
    put(tmp_path, f"{real}/one.ts")
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / real, target_is_directory=True)
    assert paths(tmp_path) == {f"{real}/one.ts"}
    assert workspace.admitted(tmp_path, f"{link}/one.ts") is None


def test_the_real_file_wins_over_a_link_to_it_and_an_ignored_one_stays_out(tmp_path: Path) -> None:
    put(tmp_path, "real.lua")
    put(tmp_path, "hidden.lua")
    put(tmp_path, "tool", "#!/usr/bin/env lua\nprint(1)\n")
    put(tmp_path, ".gitignore", "hidden.lua\n")
    for link, target in (("alias.lua", "real.lua"), ("shown.lua", "hidden.lua"), ("tool.lua", "tool")):
        (tmp_path / link).symlink_to(tmp_path / target)
    assert paths(tmp_path) == {"real.lua", "tool.lua"}


@pytest.mark.parametrize("by_link", [("folder",), ("file",), ("folder", "file"), ()])
def test_a_folder_opened_by_a_link_holds_its_files(tmp_path: Path, by_link: tuple[str, ...]) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    put(real, "pkg/a.kt")
    link.symlink_to(real, target_is_directory=True)
    session = Session()
    folder = link if "folder" in by_link else real
    session.add_folder(folder.as_uri())
    file = (link if "file" in by_link else real) / "pkg/a.kt"
    assert session.locate(file.as_uri()) == (str(folder), "pkg/a.kt")


def test_a_file_behind_a_link_in_the_folder_is_known_by_its_real_path(tmp_path: Path) -> None:
    put(tmp_path, "real/a.php")
    (tmp_path / "alias").symlink_to(tmp_path / "real", target_is_directory=True)
    session = Session()
    session.add_folder(tmp_path.as_uri())
    assert session.locate((tmp_path / "alias/a.php").as_uri())[1] == "real/a.php"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "def area_of(width, height):\n    size = width * height\n    return size\n\n\narea_of("),
        ("a.go", "package one\n\nfunc AreaOf(width int) int {\n\treturn width\n}\n\nvar x = AreaOf("),
        ("a.rb", "def area_of(width)\n  width\nend\n\n\nputs 1\narea_of("),
        ("a.ts", "export function areaOf(width: number) {\n  return width\n}\n\nareaOf("),
    ],
)
def test_a_copy_of_the_file_is_no_context_for_it(tmp_path: Path, path: str, text: str) -> None:
    put(tmp_path, path, text + ")\n")
    put(tmp_path, "copies/" + path, text + ")\n")
    found = search.rank(Query(path, text, len(text), (0, len(text))), index.build(tmp_path))
    assert [one.text for one in found if one.path != path] == []
