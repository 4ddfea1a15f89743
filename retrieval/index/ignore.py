"""A folder in, the rules by which Git and Lacuna pass over files in it out.

Reads what Git reads: `.gitignore` at every level, `info/exclude` of the repository's common directory and the user's
own file (`core.excludesFile`, or `git/ignore` in the configuration folder); beside them `.lacunaignore`. Rules of a
repository end where another repository begins. Ignores what the files are.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pathspec import GitIgnoreSpec

GIT_FILE, OWN_FILE = ".gitignore", ".lacunaignore"
FILES = (GIT_FILE, OWN_FILE)
MAX_BYTES = 1_000_000  # of an ignore file
KEPT_SECONDS = 5.0  # for which the path of the user's own file is not asked for again
GIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Rules:
    """One ignore file: it speaks for everything under `base` (relative to the root, "" or ending with a slash).

    A base that begins with NUL stands for a folder above the root: paths get longer, not shorter. is_git: it is Git's.
    """

    base: str
    spec: GitIgnoreSpec
    is_git: bool = True


def around(root: Path) -> tuple[Rules, ...]:
    """What holds at a root before its own ignore files: the user's rules and those of the repository around it."""
    above: list[Rules] = []
    for parent in (root, *root.parents):
        prefix = "" if parent == root else "\0" + root.relative_to(parent).as_posix() + "/"
        if parent != root:
            above[:0] = (Rules(prefix, rules.spec, rules.is_git) for rules in inside(parent, ""))
        if (parent / ".git").exists():
            return (*_of_repository(parent, prefix), *above)
    return tuple(_users(root, ""))


def entering(folder: Path, base: str, rules: tuple[Rules, ...]) -> tuple[Rules, ...]:
    """The rules in a folder under a root, given those of the folder that holds it."""
    if base and (folder / ".git").exists():
        rules = (*_of_repository(folder, base), *(one for one in rules if not one.is_git))
    return rules + inside(folder, base)


def inside(folder: Path, base: str) -> tuple[Rules, ...]:
    """What the ignore files directly in a folder say."""
    specs = ((name, _spec(folder / name)) for name in FILES)
    return tuple(Rules(base, spec, name == GIT_FILE) for name, spec in specs if spec is not None)


def is_ignored(path: str, is_folder: bool, rules: tuple[Rules, ...] | list[Rules]) -> bool:
    """Git's order: the innermost file that says anything about the path decides."""
    for rule in reversed(rules):
        relative = rule.base[1:] + path if rule.base.startswith("\0") else path[len(rule.base) :]
        verdict = rule.spec.check_file(relative + "/" if is_folder else relative).include
        if verdict is not None:
            return verdict
    return False


def git_directory(folder: Path) -> Path | None:
    """The directory that a folder's `.git` is or names; None where there is none."""
    git = folder / ".git"
    if git.is_dir():
        return git
    named = _first_line(git)
    if named is None or not named.startswith("gitdir:"):
        return None
    return folder / named.removeprefix("gitdir:").strip()


def is_worktree(folder: Path) -> bool:
    """Whether a folder is a further checkout of a repository that has its own elsewhere."""
    git = None if (folder / ".git").is_dir() else git_directory(folder)
    return git is not None and git.parent.name == "worktrees"


def _of_repository(folder: Path, base: str) -> list[Rules]:
    """The rules of a repository that stand in none of its folders, the user's own before them."""
    git = git_directory(folder)
    common = None if git is None else git / (_first_line(git / "commondir") or "")
    exclude = None if common is None else _spec(common / "info" / "exclude")
    return _users(folder, base) + ([] if exclude is None else [Rules(base, exclude)])


def _users(folder: Path, base: str) -> list[Rules]:
    path = _users_file(str(folder), int(time.monotonic() / KEPT_SECONDS))
    spec = None if path is None else _spec(path)
    return [] if spec is None else [Rules(base, spec)]


@lru_cache(maxsize=64)
def _users_file(folder: str, _: int) -> Path | None:
    """The user's own ignore file, as Git finds it for a repository."""
    command = ["git", "-C", folder, "config", "--type=path", "--get", "core.excludesFile"]
    try:
        asked = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=GIT_SECONDS, check=False)
        named = os.fsdecode(asked.stdout.rstrip(b"\r\n"))
    except (OSError, subprocess.SubprocessError):  # without Git there is the place where it looks
        named = ""
    if named:
        return Path(folder, named)
    home = os.environ.get("HOME")
    settings = os.environ.get("XDG_CONFIG_HOME") or (os.path.join(home, ".config") if home else "")
    return Path(settings, "git", "ignore") if settings else None


def _first_line(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        return path.read_text(errors="surrogateescape")[:4096].split("\n", 1)[0].strip()
    except OSError:
        return None


def _spec(path: Path) -> GitIgnoreSpec | None:
    """The rules of an ignore file; as for Git, a line that is no pattern says nothing."""
    if not path.is_file():  # a pipe of this name would be waited for
        return None
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES).decode("utf-8-sig", errors="replace")
    except OSError:
        return None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    try:
        return GitIgnoreSpec.from_lines(lines)
    except (ValueError, re.error):
        return GitIgnoreSpec.from_lines(filter(_is_pattern, lines))


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True
