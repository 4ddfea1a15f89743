"""Settings in, one Check for each thing that must be right out: ok, or what to do.

Each check is a function that returns what it found or raises what is wrong. Ignores how it is printed.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from lacuna import build, daemon, place, remote
from lacuna.completion import tokenizer_of
from lacuna.errors import LacunaError
from lacuna.settings import Remote, Settings, read_settings, settings_file
from model_runtime import manifest
from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.errors import LacunaRuntimeError
from model_runtime.graph import kernels
from model_runtime.protocol import Chunk, Done, InfillRequest

_LIBRARIES = (
    *("faiss", "httpx", "lsprotocol", "msgspec", "numpy", "onnxruntime", "pathspec", "prometheus_client", "pygls"),
    *("rich", "starlette", "tokenizers", "tree_sitter", "typer", "uvicorn", "watchfiles"),
)
_PROBE_TOKENS = 16


class Check(msgspec.Struct, frozen=True):
    """One line of the doctor's: what was looked at, whether it is well, and what was found or is to be done."""

    name: str
    ok: bool
    detail: str


class Ailment(LacunaError):
    """What a check found wrong, and what to do about it."""


def examine(settings: Settings, begin: Callable[[str], None] = lambda _: None) -> Iterator[Check]:
    """Every check in turn, those of the surroundings first. begin: told the name of each that begins."""
    checks: dict[str, Callable[[], str]] = {
        "python": _python,
        "packages": _packages,
        "onnxruntime": _runtime_flavour,
        "settings": _settings,
        "cache": lambda: _cache(settings),
        "kernels": lambda: _kernels(settings),
        "folder": lambda: _folder(settings),
        "model": lambda: _model(settings),
        "tokens": lambda: _tokens(settings),
        "daemon": lambda: _daemon(settings),
        "infill": lambda: _infill(settings),
    }
    if settings.remote is not None:
        there = settings.remote
        checks["server"] = lambda: _server(there)
    failed: set[str] = set()
    for name, look in checks.items():
        begin(name)
        if missing := [needed for needed in _NEEDS.get(name, ()) if needed in failed]:
            check = Check(name, False, f"not looked at: mend {' and '.join(missing)} first")
        else:
            check = _look(name, look)
        if not check.ok:
            failed.add(name)
        yield check


_NEEDS = {
    "tokens": ("packages", "model"),
    "daemon": ("packages", "folder", "model", "tokens"),
    "infill": ("packages", "folder", "model", "tokens", "daemon"),
}


def _look(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except (LacunaError, LacunaRuntimeError, OSError) as error:
        return Check(name, False, str(error))


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"


def _packages() -> str:
    broken = []
    for name in _LIBRARIES:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken installation raises anything
            broken.append(f"{name} ({type(error).__name__}: {error})")
    if broken:
        raise Ailment(f"cannot import {', '.join(broken)}; in a checkout, run: pip install --force-reinstall '.[cpu]'")
    return f"{len(_LIBRARIES)} libraries can be imported"


def _runtime_flavour() -> str:
    found = {
        distribution.name: distribution.version
        for distribution in importlib.metadata.distributions()
        if distribution.name and distribution.name.lower().replace("_", "-") in _FLAVOURS
    }
    if not found:
        raise Ailment("ONNX Runtime is not installed; run: pip install onnxruntime  (or onnxruntime-gpu)")
    if len(found) > 1:
        names = " ".join(sorted(found))
        raise Ailment(
            f"{len(found)} flavours of ONNX Runtime overwrite each other; "
            f"run: pip uninstall -y {names}  and then install one of them again"
        )
    return " ".join(f"{name} {version}" for name, version in found.items())


_FLAVOURS = frozenset(
    "onnxruntime" + flavour
    for flavour in ("", "-gpu", "-directml", "-openvino", "-qnn", "-silicon", "-training", "-rocm", "-migraphx")
)


def _settings() -> str:
    path = settings_file()
    read_settings()
    return str(path) if path.exists() else f"all defaults; {path} would change them"


def _cache(settings: Settings) -> str:
    cure = (
        "until then related code is kept in memory only, and read anew at each start: "
        "mend its rights or set LACUNA_CACHE_DIR to a folder of your own"
    )
    try:
        settings.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.cache) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        raise Ailment(f"cannot write in {settings.cache}: {error.strerror}; {cure}") from error
    return str(settings.cache)


def _kernels(settings: Settings) -> str:
    """Whose multiply models in 4 and 8 bits on the processor; what keeps our own from it where they were better."""
    if (library := kernels.library(settings.cache)) is not None:
        return f"Lacuna's own, with {kernels.level(library)}"
    if not kernels.are_better():
        return "ONNX Runtime's"
    if kernels.compiler() is None:
        return "ONNX Runtime's; with a C compiler (gcc or clang) Lacuna's own would take a third less time here"
    return "ONNX Runtime's, for Lacuna's own could not be compiled or loaded; the daemon's log says why"


def _folder(settings: Settings) -> str:
    where = place.find(settings)
    if not os.access(where.folder, os.W_OK | os.X_OK):
        raise Ailment(
            f"cannot write in {where.folder}; mend its rights or set LACUNA_RUNTIME_DIR to a folder of your own"
        )
    return f"{where.folder}, the log is {where.log}"


def _model(settings: Settings) -> str:
    found = manifest.read(settings.model_directory)
    manifest.check(settings.model_directory, found)
    size = sum(file.bytes for file in found.files.values())
    return f"{found.name}, {size / 1e6:.0f} MB, checksums as in its manifest"


def _tokens(settings: Settings) -> str:
    """Each marker is one token, and one that a user's text cannot spell."""
    found = manifest.read(settings.model_directory)
    tokenizer = tokenizer_of(settings.model_directory, found)
    markers = found.fim.markers
    for marker in markers:
        token = tokenizer.special(marker)
        if token in tokenizer.encode(f"a{marker}b"):
            raise Ailment(f"the marker {marker} can be typed into a prompt; do not use this model")
    if found.fim.layout == "prefix":
        return "the model cannot infill and is asked for what follows the cursor"
    return f"{len(markers)} markers, each one token: {' '.join(markers)}"


def _daemon(settings: Settings) -> str:
    async def meet() -> str:
        client = await daemon.connect(settings)
        try:
            health = await client.health()
        finally:
            await client.close()
        same = health.build == build.identify(settings.model_directory)
        return (
            f"process {health.pid} serves {health.model}, build {health.build}{'' if same else ', newer than this one'}"
        )

    return asyncio.run(meet())


def _infill(settings: Settings) -> str:
    """A gap in a few lines, so that something is known to come out."""
    return _probed(lambda: daemon.connect(settings))


def _server(there: Remote) -> str:
    """The server elsewhere, asked without anybody in its place."""
    return f"{Endpoint(url=there.url)}: {_probed(lambda: remote.reached(there))}"


def _probed(connect: Callable[[], Awaitable[Client]]) -> str:
    request = InfillRequest(
        client="doctor",
        path="area.py",
        prefix="def area(width, height):\n    return wid",
        suffix="\n\n\nprint(area(2, 3))\n",
        max_tokens=_PROBE_TOKENS,
    )

    async def ask() -> list[Chunk | Done]:
        client = await connect()
        try:
            return [event async for event in client.infill(request)]
        finally:
            await client.close()

    events = asyncio.run(ask())
    done = events[-1]
    assert isinstance(done, Done)
    usage = done.usage
    if done.finish not in ("end", "stop", "length"):
        raise Ailment(f"the model was interrupted ({done.finish}); stop whatever else uses the machine and try again")
    spent = usage.prefill_ms + usage.decode_ms
    return f"{usage.prompt_tokens} tokens read and {usage.generated} written in {spent:.0f} ms"
