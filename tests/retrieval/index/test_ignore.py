"""What Git passes over is not indexed: Git itself is asked, in repositories, worktrees and submodules."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.index import ignore, workspace

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no Git to ask")

NAMES = ("a.py", "b.py", "note.py", "x.gen.py")
FOLDERS = ("", "lib/", "out/", "lib/deep/", "lib/out/")
PATHS = [folder + name for folder in FOLDERS for name in NAMES]
PATTERNS = st.sampled_from(
    ["a.py", "/a.py", "*.gen.py", "!x.gen.py", "out", "out/", "/out/", "!out/", "lib/*", "!lib/a.py", "lib/**/b.py",
     "**/deep", "deep/*.py", "!/lib/deep/", "[ab].py", "n?te.py", "#a.py", "\\#", "note.py ", "\\!a.py", "lib/out/"]
)  # fmt: skip
FILE = st.lists(PATTERNS, max_size=4)


def git(folder: Path, *words: str, text: str = "") -> str:
    command = ["git", "-C", str(folder), "-c", "protocol.file.allow=always", *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def put(path: Path, lines: list[str] | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines if isinstance(lines, str) else "".join(line + "\n" for line in lines))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has nothing but what the test gives them."""
    found = tmp_path / "home"
    found.mkdir()
    for name in [name for name in os.environ if name.startswith(("GIT_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(found))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "A")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@example.org")
    ignore._users_file.cache_clear()
    return found


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def check_like_git(root: Path, paths: list[str] | None = None) -> set[str]:
    """Fails where the files that may be indexed are others than those that Git does not ignore."""
    ignore._users_file.cache_clear()
    paths = PATHS if paths is None else paths
    ignored = set(git(root, "check-ignore", "--no-index", "--stdin", text="\n".join(paths)).splitlines())
    found = {one.path for one in workspace.files(root)} & set(paths)
    assert found == set(paths) - ignored
    assert found == {path for path in paths if workspace.admitted(root, path)}
    return found


def fill(root: Path) -> None:
    for path in PATHS:
        put(root / path, "x = 1\n")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=FILE, lib=FILE, deep=FILE, exclude=FILE, mine=FILE)
def test_git_says_the_same(
    tmp_path: Path, home: Path, top: list[str], lib: list[str], deep: list[str], exclude: list[str], mine: list[str]
) -> None:
    root = tmp_path / "repository"
    if not root.exists():
        repository(root)
        fill(root)
    put(root / ".gitignore", top)
    put(root / "lib/.gitignore", lib)
    put(root / "lib/deep/.gitignore", deep)
    put(root / ".git/info/exclude", exclude)
    put(home / ".config/git/ignore", mine)
    check_like_git(root)
    check_like_git(root / "lib", [path.removeprefix("lib/") for path in PATHS if path.startswith("lib/")])


@pytest.mark.parametrize(
    ("settings_file", "line", "place"),
    [
        (".gitconfig", "~/mine", "mine"),
        (".gitconfig", "{home}/elsewhere/ignored", "elsewhere/ignored"),
        (".config/git/config", "~/mine", "mine"),
        (None, "", ".config/git/ignore"),
    ],
)
def test_the_users_own_file_holds(tmp_path: Path, home: Path, settings_file: str | None, line: str, place: str) -> None:
    root = repository(tmp_path / "repository")
    fill(root)
    if settings_file is not None:
        put(home / settings_file, f"[core]\n\texcludesFile = {line.format(home=home)}\n")
    put(home / place, "note.py\n")
    assert "note.py" not in check_like_git(root)


def test_a_file_that_the_users_settings_include_names_it(tmp_path: Path, home: Path) -> None:
    root = repository(tmp_path / "repository")
    fill(root)
    put(home / ".gitconfig", "[include]\n\tpath = ~/more\n")
    put(home / "more", "[core]\n\texcludesFile = ~/mine\n")
    put(home / "mine", "lib/\n")
    check_like_git(root)


def test_the_settings_folder_may_lie_elsewhere(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository(tmp_path / "repository")
    fill(root)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    put(tmp_path / "settings/git/ignore", "a.py\n")
    put(home / ".config/git/ignore", "b.py\n")
    found = check_like_git(root)
    assert "b.py" in found and "a.py" not in found


def test_a_worktree_has_the_common_directorys_rules(tmp_path: Path) -> None:
    main = repository(tmp_path / "repository")
    put(main / ".git/info/exclude", "note.py\nout/\n")
    other = tmp_path / "other"
    git(main, "worktree", "add", "-q", str(other))
    fill(other)
    assert "note.py" not in check_like_git(other)


def test_a_submodule_has_its_own_rules_and_not_those_around_it(tmp_path: Path) -> None:
    inner = repository(tmp_path / "inner")
    outer = repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(inner), "vendor/inner")
    module = outer / "vendor/inner"
    fill(module)
    put(outer / ".gitignore", "b.py\n")
    put(outer / ".git/modules/vendor/inner/info/exclude", "note.py\n")
    found = check_like_git(module)
    assert "b.py" in found and "note.py" not in found
    below = {one.path.removeprefix("vendor/inner/") for one in workspace.files(outer) if one.path.startswith("vendor/")}
    assert below & set(PATHS) == found


@pytest.mark.parametrize("line", ["a.py\r", "\ufeffa.py", "a.py\u2028b.py"])
def test_lines_end_where_they_do_for_git(tmp_path: Path, line: str) -> None:
    root = repository(tmp_path / "repository")
    fill(root)
    (root / ".gitignore").write_bytes(line.encode() + b"\n")
    check_like_git(root)


def test_without_git_the_usual_places_hold(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository(tmp_path / "repository")
    fill(root)
    put(home / ".config/git/ignore", "a.py\n")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    ignore._users_file.cache_clear()
    assert "a.py" not in {one.path for one in workspace.files(root)}
