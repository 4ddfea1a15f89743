"""A root in, its source files out: what an index may read and what it must not.

Leaves out what Git or .lacunaignore passes over, version-control and dependency folders, other
worktrees of a repository and copies that a build makes, binaries, minified and generated files
and anything too large. Knows every file by its real path: links to folders are not followed, so
they cannot loop nor lead out of the root. Ignores what the files mean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrieval import languages
from retrieval.errors import WorkspaceError
from retrieval.index import ignore
from retrieval.index.ignore import Rules, is_ignored

IGNORE_FILES = ignore.FILES
MAX_BYTES = 1_000_000  # larger sources are generated or data: their parse would cost more than they give
DEEPEST = 100  # folders inside each other; nobody keeps code further down
_SKIPPED = """
    .git .hg .svn .jj .bzr CVS node_modules bower_components jspm_packages __pycache__ .venv venv virtualenv
    .tox .nox .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache .gradle .idea .vscode .vs .next .nuxt
    .svelte-kit .parcel-cache .turbo .yarn .pnpm-store .terraform .serverless .bundle .eggs site-packages
    .dart_tool Pods DerivedData .stack-work dist-newstyle _build .elixir_ls .metals .bloop .ipynb_checkpoints
    .direnv
"""
_SKIPPED_FOLDERS = frozenset(_SKIPPED.split())
# What builds put copies of the sources into: the folder, what is in it, and the files of a project that builds so
_COPIES = {
    "build": (re.compile(r"lib$|lib\.|bdist\."), ("setup.py", "setup.cfg", "pyproject.toml")),
    "target": (re.compile(r"package$"), ("Cargo.toml",)),
}
_SKIPPED_NAMES = re.compile(
    r"(?:[.-]min\.(?:js|css|mjs)|\.bundle\.js|\.map|\.lock|-lock\.json|-lock\.yaml|\.pb\.go|_pb2(?:_grpc)?\.pyi?"
    r"|\.generated\.\w+|\.g\.(?:dart|cs)|\.designer\.cs|go\.sum|npm-shrinkwrap\.json)$",
    re.IGNORECASE,
)
_DATA = frozenset({"csv", "diff", "json", "text"})  # recognised, but nothing in them helps code
_PROJECT_FILE = re.compile(r"(?:.*/)?(?:package\.json|[tj]sconfig(?:\.[\w.-]+)?\.json|go\.mod|Cargo\.toml)$")
_GENERATED = re.compile(
    rb"(?i)@generated|do not edit(?:\b|$)|(?:auto-?generated|automatically generated|code generated) (?:by|from|file)"
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that may be indexed. `path` is relative to the root, with forward slashes; `mtime` in nanoseconds."""

    path: str
    size: int
    mtime: int


def check_root(root: Path) -> Path:
    """The root, resolved. Raises WorkspaceError when it is not a directory that can be read."""
    resolved = root.expanduser().resolve()
    if not resolved.is_dir():
        raise WorkspaceError(f"{root} is not a directory; open the folder that holds your code")
    if not os.access(resolved, os.R_OK | os.X_OK):
        raise WorkspaceError(f"{root} cannot be read; give yourself read and execute rights on it")
    return resolved


def files(root: Path, max_bytes: int = MAX_BYTES) -> Iterator[SourceFile]:
    """The files of a root that may be indexed, directory by directory, in name order.

    Raises WorkspaceError when the root itself cannot be read; an unreadable folder inside it is passed over.
    """
    resolved = check_root(root)
    yield from _walk(resolved, "", ignore.around(resolved), max_bytes)


def admitted(root: Path, path: str, max_bytes: int = MAX_BYTES) -> SourceFile | None:
    """One file of the root, by its relative path, if it is there and may be indexed."""
    rules, base = ignore.around(root), ""
    for folder in path.split("/")[:-1]:
        rules = ignore.entering(root / base, base, rules)
        name, base = base + folder, base + folder + "/"
        if not _is_entered(root, name, rules) or os.path.islink(root / name):
            return None
    rules = ignore.entering(root / base, base, rules)
    if not _is_source(path, rules) or (os.path.islink(root / path) and not _stands_for_itself(root, path, rules)):
        return None
    return _source(root / path, path, max_bytes)


def read(root: Path, path: str) -> str | None:
    """The text of a file of the root, or None when it is gone, binary, minified or generated."""
    try:
        content = (root / path).read_bytes()
    except OSError:
        return None
    return text_of(content)


def text_of(content: bytes) -> str | None:
    """The bytes of a file as text with plain newlines, or None when they are binary, minified or generated."""
    if b"\0" in content[:8192] or is_minified(content) or _GENERATED.search(content[:1500]):
        return None
    text = content.decode("utf-8-sig", errors="replace")
    if text.count("\ufffd") > max(8, len(text) // 200):
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def is_minified(content: bytes) -> bool:
    """Whether lines are so long that no person wrote them."""
    if len(content) < 2000:
        return False
    lines = content.count(b"\n") + 1
    return len(content) / lines > 250 or max(map(len, content[:200_000].split(b"\n"))) > 20_000


def _walk(root: Path, base: str, inherited: tuple[Rules, ...], max_bytes: int) -> Iterator[SourceFile]:
    folder = root / base
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    rules = ignore.entering(folder, base, inherited)
    for entry in entries:
        path = base + entry.name
        try:
            is_folder, is_link = entry.is_dir(), entry.is_symlink()
        except OSError:
            continue
        if is_folder:
            if not is_link and base.count("/") < DEEPEST and _is_entered(root, path, rules):
                yield from _walk(root, path + "/", rules, max_bytes)
        elif _is_source(path, rules) and (not is_link or _stands_for_itself(root, path, rules)):
            found = _source(Path(entry.path), path, max_bytes)
            if found is not None:
                yield found


def _is_entered(root: Path, path: str, rules: tuple[Rules, ...]) -> bool:
    """Whether a real folder holds code of its own, and no copy of what lies elsewhere."""
    above, _, name = path.rpartition("/")
    if name in _SKIPPED_FOLDERS or is_ignored(path, True, rules) or ignore.is_worktree(root / path):
        return False
    made = _COPIES.get(above.rpartition("/")[2])
    if made is None or not made[0].match(name):
        return True
    project = root / above.rpartition("/")[0]
    return not any((project / one).exists() for one in made[1])


def _stands_for_itself(root: Path, path: str, rules: tuple[Rules, ...]) -> bool:
    """Whether a link names a file of the root that is not indexed under its own name only because that tells nothing.

    Every other file of the root is known by its real path.
    """
    real, base = os.path.realpath(root / path), os.path.realpath(root) + os.sep
    if not real.startswith(base):
        return False
    target = real[len(base) :].replace(os.sep, "/")
    if languages.recognised(target) or any(folder in _SKIPPED_FOLDERS for folder in target.split("/")):
        return False
    steps = target.split("/")
    folders = ("/".join(steps[:count]) for count in range(1, len(steps)))
    return not is_ignored(target, False, rules) and not any(is_ignored(one, True, rules) for one in folders)


def _is_source(path: str, rules: tuple[Rules, ...]) -> bool:
    if not _is_text(path):
        return False
    if _PROJECT_FILE.match(path):
        return not is_ignored(path, False, rules)
    if _SKIPPED_NAMES.search(path) or not languages.recognised(path):
        return False
    return languages.of(path).name not in _DATA and not is_ignored(path, False, rules)


def _is_text(path: str) -> bool:
    """Whether a path can be written down: names that are no UTF-8 come with surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _source(target: Path, path: str, max_bytes: int) -> SourceFile | None:
    try:
        stat = target.stat()
    except OSError:
        return None
    if not os.path.isfile(target) or not 0 < stat.st_size <= max_bytes:
        return None
    return SourceFile(path, stat.st_size, stat.st_mtime_ns)
