"""A module's name and the file that imports it in; the workspace files it means out.

Relative paths, packages and their source folders, `tsconfig` paths, workspace packages, Go
modules, Rust crates and modules, declared namespaces, includes. Ignores what the files hold, and
packages from outside the workspace.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from retrieval.resolve import projects
from retrieval.resolve.projects import Project


class ModuleLookup(Protocol):
    """What resolving asks of an index. Paths are relative to the root."""

    def has(self, path: str) -> bool:
        """Whether a file is known."""

    def bears(self, stem: str) -> bool:
        """Whether any file, or folder that holds files, may bear this name: a quick no for what lies outside."""

    def in_package(self, package: str) -> tuple[str, ...]:
        """Files that say they belong to a package or namespace."""

    def in_folder(self, folder: str) -> tuple[str, ...]:
        """Files that lie directly in a folder."""

    def called(self, name: str) -> tuple[str, ...]:
        """Files of this name, wherever they lie."""

    def projects(self) -> tuple[Project, ...]:
        """What the project files say."""


FOLDER_IS_PACKAGE = frozenset({"go", "java", "kotlin", "scala"})  # files of a folder see each other unasked
_JS_ENDINGS = (".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".vue", ".svelte")
_JS_COMPILED = {".js": (".ts", ".tsx"), ".jsx": (".tsx",), ".mjs": (".mts",), ".cjs": (".cts",)}
_PYTHON_FOLDERS = ("", "src/", "lib/", "python/")
_C_FOLDERS = ("", "include/", "src/", "inc/", "lib/")
_RUBY_FOLDERS = ("", "lib/", "app/", "app/models/", "test/", "spec/")
_LUA_FOLDERS = ("", "lua/", "src/", "lib/")


def files(module: str, path: str, language: str, lookup: ModuleLookup) -> tuple[str, ...]:
    """The files that `module`, imported in the file `path`, means; empty when it leads out of the workspace."""
    if not module:
        return (path,)
    rule = _RULES.get(language)
    return tuple(one for one in rule(module, path, lookup) if one != path) if rule else ()


def submodule(module: str, name: str, language: str) -> str | None:
    """The module that importing `name` from `module` binds when `name` is a module itself."""
    if language == "python":
        return module + name if module.endswith(".") else f"{module}.{name}"
    if language == "rust":
        return f"{module}::{name}"
    return None


def javascript_files(stem: str) -> Iterator[str]:
    """Files that a JavaScript or TypeScript import of this path may mean."""
    ending = posixpath.splitext(stem)[1]
    if ending in _JS_ENDINGS:
        yield stem
        for source in _JS_COMPILED.get(ending, ()):
            yield stem[: -len(ending)] + source
    for one in _JS_ENDINGS:
        yield stem + one
    for one in _JS_ENDINGS:
        yield posixpath.join(stem, "index" + one)


def python_files(stem: str) -> Iterator[str]:
    """Files that a Python module of this path may mean."""
    if stem:
        yield from (stem + ".py", stem + ".pyi")
    yield from (_under(stem, "__init__.py"), _under(stem, "__init__.pyi"))


def _python(module: str, path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    bare = module.lstrip(".")
    dots = len(module) - len(bare)
    tail = bare.replace(".", "/")
    folder = posixpath.dirname(path)
    if dots:
        for _ in range(dots - 1):
            folder = posixpath.dirname(folder)
        return _first(python_files(posixpath.join(folder, tail) if tail else folder), path, lookup)
    if not lookup.bears(bare.rpartition(".")[2]):
        return ()
    stems = (_under(base, source + tail) for base in _ancestors(folder) for source in _PYTHON_FOLDERS)
    return _first((one for stem in stems for one in python_files(stem)), path, lookup)


def _javascript(module: str, path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    if module.startswith("."):
        return _first(javascript_files(_normal(posixpath.dirname(path), module)), path, lookup)
    known = lookup.projects()
    stems = [*_ts_paths(module, projects.nearest(known, "ts", path), known), *_npm_packages(module, known)]
    if module.startswith(("@/", "~/")):
        home = projects.nearest(known, "npm", path)
        folder = home.folder if home else ""
        stems += [_normal(folder, "src", module[2:]), _normal(folder, module[2:])]
    return _first((one for stem in stems for one in javascript_files(stem)), path, lookup)


def _ts_paths(module: str, config: Project | None, known: tuple[Project, ...], hops: int = 4) -> Iterator[str]:
    if config is None or hops == 0:
        return
    base = _normal(config.folder, config.base or ".")
    for pattern, targets in sorted(config.paths.items(), key=lambda item: -len(item[0].partition("*")[0])):
        head, star, tail = pattern.partition("*")
        if star and module.startswith(head) and module.endswith(tail):
            matched = module[len(head) : len(module) - len(tail)]
            yield from (_normal(base, target.replace("*", matched)) for target in targets)
        elif module == pattern:
            yield from (_normal(base, target) for target in targets)
    if config.base is not None:
        yield _normal(base, module)
    if config.extends:
        folder, file = posixpath.split(_normal(config.folder, config.extends))
        names = (file, file + ".json")
        above = next((one for one in known if one.kind == "ts" and one.folder == folder and one.file in names), None)
        yield from _ts_paths(module, above, known, hops - 1)


def _npm_packages(module: str, known: tuple[Project, ...]) -> Iterator[str]:
    for project in known:
        if project.kind != "npm" or project.name is None:
            continue
        if module == project.name:
            yield from (_normal(project.folder, entry) for entry in project.entries)
        elif module.startswith(project.name + "/"):
            rest = module[len(project.name) + 1 :]
            yield from (_normal(project.folder, rest), _normal(project.folder, "src", rest))


def _go(module: str, path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    for project in lookup.projects():
        if project.kind == "go" and project.name and f"{module}/".startswith(project.name + "/"):
            folder = _normal(project.folder, module[len(project.name) :].strip("/"))
            found = tuple(
                one for one in lookup.in_folder(folder) if one.endswith(".go") and not one.endswith("_test.go")
            )
            if found:
                return found
    return ()


def _rust(module: str, path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    segments = module.split("::")
    known = lookup.projects()
    home = projects.nearest(known, "cargo", path)
    source, own = _crate(path, home)
    if segments[0] == "crate":
        return rust_file(source, segments[1:], 0, lookup)
    if segments[0] in ("self", "super"):
        ups = 0
        while ups < len(segments) and segments[ups] in ("self", "super"):
            own = own[:-1] if segments[ups] == "super" else own
            ups += 1
        return rust_file(source, own + segments[ups:], 0, lookup)
    for project in known:
        if project.kind == "cargo" and project.name == segments[0]:
            folder = posixpath.dirname(_normal(project.folder, project.entries[0]))
            return rust_file(folder, segments[1:], 0, lookup)
    return rust_file(source, own + segments, len(own) + 1, lookup)


def _crate(path: str, home: Project | None) -> tuple[str, list[str]]:
    """The source folder of the crate a file belongs to, and the file's own module path in it."""
    folder = home.folder if home else ""
    source = _normal(folder, "src")
    if not path.startswith(source + "/"):
        source = posixpath.dirname(path)
    parts = path[len(source) :].strip("/").removesuffix(".rs").split("/")
    if parts[-1] in ("lib", "main", "mod"):
        parts.pop()
    return source, parts


def rust_file(source: str, segments: list[str], least: int, lookup: ModuleLookup) -> tuple[str, ...]:
    """The file of the longest leading part of a module path: what is left is inside that file."""
    for length in range(len(segments), least - 1, -1):
        stem = _normal(source, *segments[:length])
        names = (f"{stem}.rs", f"{stem}/mod.rs") if length else (f"{source}/lib.rs", f"{source}/main.rs")
        found = next((one for one in names if lookup.has(one)), None)
        if found:
            return (found,)
    return ()


def _package(module: str, path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    """Languages whose files declare their package; a static import's module is a class in one."""
    return lookup.in_package(module) or lookup.in_package(re.split(r"[.\\](?=[^.\\]*$)", module)[0])


def _php(module: str, path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    if module.startswith("./"):
        return _by_path(module[2:], path, lookup, ("",), ("",))
    return lookup.in_package(module)


def _include(module: str, path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    return _by_path(module, path, lookup, _C_FOLDERS, ("",))


def _ruby(module: str, path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    return _by_path(module.removesuffix(".rb"), path, lookup, _RUBY_FOLDERS, (".rb",))


def _lua(module: str, path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    return _by_path(module.replace(".", "/"), path, lookup, _LUA_FOLDERS, (".lua", "/init.lua"))


def _bash(module: str, path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    bare = re.sub(r"^.*[)}\"']/|^\$\w+/", "", module.strip("\"'")).strip("\"'")
    return _by_path(bare, path, lookup, ("", "lib/"), ("", ".sh"))


def _by_path(
    module: str, path: str, lookup: ModuleLookup, folders: tuple[str, ...], endings: tuple[str, ...]
) -> tuple[str, ...]:
    """A path written relative to the file, to a folder above it, or to a search folder nobody told us of."""
    if not lookup.bears(posixpath.basename(module).partition(".")[0]):
        return ()
    plain = not re.search(r"(?:^|/)(?:\.|/|$)", module)
    bases = _ancestors(posixpath.dirname(path))
    within = ((base, folder) for base in bases for folder in folders)
    stems = (_under(base, folder + module) if plain else _normal(base, folder, module) for base, folder in within)
    found = _first((stem + ending for stem in stems for ending in endings), path, lookup)
    if found:
        return found
    tail = module.lstrip("./")
    for ending in endings:
        wanted = "/" + tail + ending
        same = tuple(one for one in lookup.called(posixpath.basename(wanted)) if ("/" + one).endswith(wanted))
        if same:
            return same[:1]
    return ()


def _first(candidates: Iterable[str], path: str, lookup: ModuleLookup) -> tuple[str, ...]:
    return next(((one,) for one in candidates if one != path and lookup.has(one)), ())


def _normal(*parts: str) -> str:
    joined = posixpath.normpath(posixpath.join(*parts))
    return "" if joined == "." else joined


def _under(folder: str, name: str) -> str:
    """A plain relative path in a folder: a quick join."""
    return f"{folder}/{name}" if folder else name


def _ancestors(folder: str) -> Iterator[str]:
    """The folder and every folder above it, up to the root, which is ""."""
    while folder.strip("/"):
        yield folder
        folder = posixpath.dirname(folder)
    yield folder


_RULES: dict[str, Callable[[str, str, ModuleLookup], tuple[str, ...]]] = {
    "python": _python,
    "javascript": _javascript,
    "typescript": _javascript,
    "tsx": _javascript,
    "vue": _javascript,
    "svelte": _javascript,
    "go": _go,
    "rust": _rust,
    "java": _package,
    "kotlin": _package,
    "scala": _package,
    "csharp": _package,
    "php": _php,
    "c": _include,
    "cpp": _include,
    "ruby": _ruby,
    "lua": _lua,
    "bash": _bash,
}
