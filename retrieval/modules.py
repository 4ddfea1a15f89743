"""An Import and the file it stands in, in; the workspace paths it may mean, best first, out.

Pure path arithmetic: the caller asks its index which of the candidates exist. Ignores what the
files hold and packages from outside the workspace.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator

_JS_ENDINGS = (".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".vue", ".svelte")
_JS_COMPILED = {".js": (".ts", ".tsx"), ".jsx": (".tsx",), ".mjs": (".mts",), ".cjs": (".cts",)}
_SOURCE_FOLDERS = ("", "src/", "lib/", "python/")


def candidates(module: str, path: str, language: str) -> Iterator[str]:
    """Paths of the files that `module`, imported in the file `path`, may stand for."""
    rule = _RULES.get(language)
    return rule(module, path) if rule else iter(())


def submodule(module: str, name: str, language: str) -> str | None:
    """The module that `from module import name` binds when `name` is a module itself."""
    if language != "python":
        return None
    return module + name if module.endswith(".") else f"{module}.{name}"


def _python(module: str, path: str) -> Iterator[str]:
    bare = module.lstrip(".")
    dots = len(module) - len(bare)
    tail = bare.replace(".", "/")
    folder = posixpath.dirname(path)
    if dots:
        for _ in range(dots - 1):
            folder = posixpath.dirname(folder)
        yield from _python_files(posixpath.join(folder, tail) if tail else folder)
        return
    for base in _ancestors(folder):
        for source in _SOURCE_FOLDERS:
            yield from _python_files(posixpath.join(base, source + tail))


def _python_files(stem: str) -> Iterator[str]:
    if stem:
        yield stem + ".py"
    yield posixpath.join(stem, "__init__.py")
    if stem:
        yield stem + ".pyi"
    yield posixpath.join(stem, "__init__.pyi")


def _javascript(module: str, path: str) -> Iterator[str]:
    if module.startswith("."):
        yield from javascript_files(posixpath.normpath(posixpath.join(posixpath.dirname(path), module)))


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


def _ancestors(folder: str) -> Iterator[str]:
    """The folder and every folder above it, up to the root, which is ""."""
    while folder:
        yield folder
        folder = posixpath.dirname(folder)
    yield ""


_RULES: dict[str, Callable[[str, str], Iterator[str]]] = {
    "python": _python,
    "javascript": _javascript,
    "typescript": _javascript,
    "tsx": _javascript,
}
