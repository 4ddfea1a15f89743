"""An import that leads out of the workspace in; the files of the dependency that is really installed out.

Looks where the languages keep them: a virtual environment's site-packages with its stubs,
node_modules with its type declarations, the Go module cache and vendor folder, cargo's sources.
Files are read when an import first needs them, definitions only, a few milliseconds' worth a
question. Nothing of them is written down. Ignores the standard libraries, which models know.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from retrieval import languages, secrets
from retrieval.index import entries
from retrieval.index.entries import Entry
from retrieval.resolve import modules, projects
from retrieval.resolve.projects import Project

MOST_BYTES = 1_000_000
MOST_FILES = 400  # entries kept
QUESTION_SECONDS = 0.05  # parsing for one question; what is left waits for the next
_COMPILED = re.compile(r"[.]([cm]?)js$")
_FOLDER = re.compile(r".*/(?:site-packages|node_modules|pkg/mod|vendor|registry/src/[^/]+)/")


class Outside:
    """The dependencies of one root. Paths are absolute, with forward slashes; a ModuleLookup for `modules`."""

    def __init__(self, root: Path) -> None:
        """Reads nothing yet."""
        self._root = root.as_posix()
        self._entries: dict[str, Entry | None] = {}
        self._stop = 0.0
        self._sites: tuple[str, ...] | None = None

    def look(self) -> None:
        """A new question begins: there is time to read again, and files may have been installed."""
        self._stop = time.monotonic() + QUESTION_SECONDS
        if len(self._entries) > MOST_FILES:
            self._entries.clear()
        self._sites = None
        _is_file.cache_clear()

    def entry(self, path: str) -> Entry | None:
        """What a file defines and imports; None when it cannot be read, or not in this question's time."""
        if path not in self._entries:
            if time.monotonic() > self._stop:
                return None
            self._entries[path] = _read(path)
        return self._entries[path]

    def files(self, module: str, path: str, language: str, known: tuple[Project, ...]) -> tuple[str, ...]:
        """The dependency's files that `module` means in the workspace file `path`. `known` are the root's projects."""
        rule = _RULES.get(language)
        found = rule(self, module, f"{self._root}/{path}", known) if rule else iter(())
        return next(((one,) if isinstance(one, str) else one for one in found), ())

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return _is_file(path)

    def bears(self, stem: str) -> bool:
        """Whether any file may bear this name; here nobody knows."""
        return True

    def in_package(self, package: str) -> tuple[str, ...]:
        """Nothing: packages of dependencies are not listed."""
        return ()

    def in_folder(self, folder: str) -> tuple[str, ...]:
        """The files that lie directly in a folder."""
        try:
            return tuple(f"{folder}/{name}" for name in sorted(os.listdir(folder)))
        except OSError:
            return ()

    def called(self, name: str) -> tuple[str, ...]:
        """Nothing: dependencies are not searched by name."""
        return ()

    def projects(self) -> tuple[Project, ...]:
        """Nothing: a dependency's own project files do not count."""
        return ()

    def python(self, module: str, path: str, known: tuple[Project, ...]) -> Iterator[str]:
        """Stubs first, then the package itself."""
        if module.startswith("."):
            return
        tail = module.replace(".", "/")
        first, _, rest = tail.partition("/")
        for site in self._site_packages():
            stubs = f"{site}/{first}-stubs/{rest}".rstrip("/")
            for stem in (stubs, f"{site}/{tail}"):
                yield from filter(_is_file, modules.python_files(stem))

    def javascript(self, module: str, path: str, known: tuple[Project, ...]) -> Iterator[str]:
        """Type declarations: the package's own, or those of @types."""
        if module.startswith((".", "/", "node:")):
            return
        parts = module.split("/")
        name = "/".join(parts[:2] if module.startswith("@") else parts[:1])
        rest = module[len(name) + 1 :]
        types = "@types/" + name.removeprefix("@").replace("/", "__")
        for base in self._up(path):
            for package in (name, types):
                folder = f"{base}/node_modules/{package}"
                if os.path.isdir(folder):
                    stems = [f"{folder}/{rest}"] if rest else _declared(folder)
                    for stem in stems:
                        yield from (one for one in modules.javascript_files(stem) if _is_typed(one) and _is_file(one))

    def go(self, module: str, path: str, known: tuple[Project, ...]) -> Iterator[tuple[str, ...]]:
        """The vendor folder, then the module cache at the version that go.mod requires."""
        project = projects.nearest(known, "go", path[len(self._root) + 1 :])
        if project is None:
            return
        folders = [f"{self._root}/{project.folder}/vendor/{module}".replace("//", "/")]
        gopaths = [one for one in (os.environ.get("GOPATH"), _home("go")) if one]
        caches = [os.environ.get("GOMODCACHE"), *(f"{one}/pkg/mod" for one in gopaths)]
        for required, versions in project.paths.items():
            if f"{module}/".startswith(required + "/"):
                escaped = re.sub(r"[A-Z]", lambda match: "!" + match[0].lower(), f"{required}@{versions[0]}")
                folders += [f"{cache}/{escaped}{module[len(required) :]}" for cache in caches if cache]
        for folder in folders:
            found = tuple(one for one in self.in_folder(folder) if one.endswith(".go") and not one.endswith("_test.go"))
            if found:
                yield found

    def rust(self, module: str, path: str, known: tuple[Project, ...]) -> Iterator[tuple[str, ...]]:
        """cargo's sources, at the version that Cargo.lock holds."""
        crate, _, rest = module.partition("::")
        if crate in ("std", "core", "alloc", "crate", "self", "super"):
            return
        registry = f"{os.environ.get('CARGO_HOME') or _home('.cargo')}/registry/src"
        version = _locked(self._root).get(crate)
        for source in self.in_folder(registry):
            for folder in self.in_folder(source):
                name, _, found = posixpath.basename(folder).rpartition("-")
                if name.replace("-", "_") == crate and (version is None or found == version):
                    yield modules.rust_file(f"{folder}/src", rest.split("::") if rest else [], 0, self)

    def _site_packages(self) -> tuple[str, ...]:
        if self._sites is None:
            active = (os.environ.get("VIRTUAL_ENV"), os.environ.get("CONDA_PREFIX"))
            own = (f"{self._root}/{name}" for name in (".venv", "venv", "env", ".env"))
            homes = [*own, *(one for one in active if one)]
            found = [site.as_posix() for home in homes for site in _sites_of(Path(home))]
            self._sites = tuple(dict.fromkeys(found))
        return self._sites

    def _up(self, path: str) -> Iterator[str]:
        """The folders from a file's up to the root."""
        folder = posixpath.dirname(path)
        while folder.startswith(self._root):
            yield folder
            folder = posixpath.dirname(folder)


def shown(path: str) -> str:
    """A dependency's path as a prompt may show it: from its own folder on, nothing of the user's machine."""
    return _FOLDER.sub("", path) if is_outside(path) else path


def is_outside(path: str) -> bool:
    """Whether a path is a dependency's."""
    return path.startswith("/") or path[1:3] == ":/"


def _read(path: str) -> Entry | None:
    try:
        if os.path.getsize(path) > MOST_BYTES:
            return None
        text = Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return None
    text, language = secrets.mask(text), languages.of(path, text)
    outline = entries.outlined(text, language, QUESTION_SECONDS * 4)
    known = tuple(entries.IndexedDefinition(path, one) for one in outline.definitions if not one.local)
    empty = entries.blank(path, 0, len(text))
    return replace(empty, language=language.name, package=outline.package, definitions=known, imports=outline.imports)


def _sites_of(home: Path) -> list[Path]:
    return [*sorted(home.glob("lib/python3*/site-packages"), reverse=True), *home.glob("Lib/site-packages")]


def _declared(folder: str) -> list[str]:
    """The declaration files that a package.json names, then where they usually are."""
    try:
        content = json.loads(Path(folder, "package.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        content = {}
    if not isinstance(content, dict):
        return []
    project = projects.read("package.json", json.dumps({**content, "name": "any"}))
    named = [content.get("types"), content.get("typings")]
    stems = [one for one in (*named, *(project.entries if project else ()), "index") if isinstance(one, str)]
    return [posixpath.normpath(posixpath.join(folder, _COMPILED.sub(r".d.\1ts", stem))) for stem in stems]


def _is_typed(path: str) -> bool:
    return path.endswith((".ts", ".tsx", ".mts", ".cts"))


def _home(name: str) -> str:
    """A path in the home folder; a user without one has nothing there."""
    try:
        return (Path.home() / name).as_posix()
    except RuntimeError:
        return f"/nonexistent/{name}"


@lru_cache(maxsize=16)
def _locked_at(path: str, mtime: int) -> dict[str, str]:
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(one.get("name")).replace("-", "_"): str(one.get("version")) for one in content.get("package", ())}


def _locked(root: str) -> dict[str, str]:
    path = f"{root}/Cargo.lock"
    try:
        return _locked_at(path, os.stat(path).st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=20_000)
def _is_file(path: str) -> bool:
    return os.path.isfile(path)


_Rule = Callable[[Outside, str, str, tuple[Project, ...]], Iterator[str] | Iterator[tuple[str, ...]]]
_RULES: dict[str, _Rule] = {
    "python": Outside.python,
    "javascript": Outside.javascript,
    "typescript": Outside.javascript,
    "tsx": Outside.javascript,
    "vue": Outside.javascript,
    "svelte": Outside.javascript,
    "go": Outside.go,
    "rust": Outside.rust,
}
