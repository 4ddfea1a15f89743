"""A root in, its source files out: what an index may read and what it must not.

Honours .gitignore and .lacunaignore at every level (git's own rules, nested repositories
included), leaves out version-control and dependency folders, binaries, minified and generated
files and anything too large, and walks each real directory once, so that symlinks cannot loop
nor lead out of the root. Ignores what the files mean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from retrieval import languages
from retrieval.errors import WorkspaceError

IGNORE_FILES = (".gitignore", ".lacunaignore")
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


@dataclass(frozen=True, slots=True)
class _Rules:
    """One ignore file: it speaks for everything under `base` (relative to the root, "" or ending with a slash)."""

    base: str
    spec: GitIgnoreSpec


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
    yield from _walk(resolved, "", _parent_rules(resolved), {os.path.realpath(resolved)}, max_bytes)


def admitted(root: Path, path: str, max_bytes: int = MAX_BYTES) -> SourceFile | None:
    """One file of the root, by its relative path, if it is there and may be indexed."""
    rules, base = list(_parent_rules(root)), ""
    for folder in path.split("/")[:-1]:
        rules.extend(_rules_in(root / base, base))
        if folder in _SKIPPED_FOLDERS or _is_ignored(base + folder, True, rules):
            return None
        base += folder + "/"
    rules.extend(_rules_in(root / base, base))
    if not _inside(os.path.realpath(root / path), root) or not _is_source(path, rules):
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


def _walk(root: Path, base: str, inherited: tuple[_Rules, ...], seen: set[str], max_bytes: int) -> Iterator[SourceFile]:
    folder = root / base
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    rules = inherited + _rules_in(folder, base)
    for entry in entries:
        path = base + entry.name
        try:
            is_folder = entry.is_dir()
        except OSError:
            continue
        if is_folder:
            if entry.name in _SKIPPED_FOLDERS or base.count("/") >= DEEPEST or _is_ignored(path, True, rules):
                continue
            real = os.path.realpath(entry.path)
            if real in seen or (entry.is_symlink() and not _inside(real, root)):
                continue
            seen.add(real)
            yield from _walk(root, path + "/", rules, seen, max_bytes)
        elif _is_source(path, rules) and (not entry.is_symlink() or _inside(os.path.realpath(entry.path), root)):
            found = _source(Path(entry.path), path, max_bytes)
            if found is not None:
                yield found


def _is_source(path: str, rules: list[_Rules] | tuple[_Rules, ...]) -> bool:
    if not _is_text(path):
        return False
    if _PROJECT_FILE.match(path):
        return not _is_ignored(path, False, rules)
    if _SKIPPED_NAMES.search(path) or not languages.recognised(path):
        return False
    return languages.of(path).name not in _DATA and not _is_ignored(path, False, rules)


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


def _inside(real: str, root: Path) -> bool:
    return real.startswith(os.path.realpath(root) + os.sep)


def _parent_rules(root: Path) -> tuple[_Rules, ...]:
    """Rules of the repository around the root, when the root is a folder inside one; and .git/info/exclude."""
    above: list[_Rules] = []
    for parent in (root, *root.parents):
        if parent != root:
            prefix = root.relative_to(parent).as_posix() + "/"
            above = [_Rules("\0" + prefix, rules.spec) for rules in _rules_in(parent, "")] + above
        if (parent / ".git").exists():
            exclude = _spec(parent / ".git" / "info" / "exclude")
            if exclude is not None:
                prefix = "" if parent == root else "\0" + root.relative_to(parent).as_posix() + "/"
                above.insert(0, _Rules(prefix, exclude))
            return tuple(above)
    return ()


def _rules_in(folder: Path, base: str) -> tuple[_Rules, ...]:
    specs = (_spec(folder / name) for name in IGNORE_FILES)
    return tuple(_Rules(base, spec) for spec in specs if spec is not None)


def _spec(path: Path) -> GitIgnoreSpec | None:
    """The rules of an ignore file; as for git, a line that is no pattern says nothing."""
    if not path.is_file():  # a pipe of this name would be waited for
        return None
    try:
        with path.open("rb") as stream:
            lines = stream.read(MAX_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return None
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


def _is_ignored(path: str, is_folder: bool, rules: list[_Rules] | tuple[_Rules, ...]) -> bool:
    """git's order: the innermost file that says anything about the path decides."""
    for rule in reversed(rules):
        # A base that begins with NUL stands for a folder above the root: the path gets longer, not shorter.
        relative = rule.base[1:] + path if rule.base.startswith("\0") else path[len(rule.base) :]
        verdict = rule.spec.check_file(relative + "/" if is_folder else relative).include
        if verdict is not None:
            return verdict
    return False
