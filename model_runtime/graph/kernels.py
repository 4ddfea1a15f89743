"""This machine in, a library of kernels for its processor out: compiled once, where there is a compiler.

The library holds kernels for AVX2, AVX-VNNI and AVX-512 VNNI and takes the best that the processor has, see
`matmul.h`. They read and write with one copy of the matrices. On processors with AMX ONNX Runtime's kernels are used,
as ours have none for it. Without them, and without a compiler, everything works as it does elsewhere.

    python -m model_runtime.graph.kernels

compiles them beside their source, for a checkout: `make` does.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from model_runtime.graph import artifact_cache

FOLDER = Path(__file__).parent / "native"  # of the sources

_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=off", "-fPIC", "-shared")
_TIME = 120  # seconds; six are usual
_CPUINFO = Path("/proc/cpuinfo")
_LEVELS = ("nothing", "AVX2", "AVX-VNNI", "AVX-512 VNNI, 8 at once", "AVX-512 VNNI")  # `processor.h`
_BETTER = "amx_int8"  # with it ONNX Runtime's own kernels are quicker

log = logging.getLogger(__name__)


def library(cache: Path) -> Path | None:
    """The library for ONNX Runtime, kept in the cache folder; None where its own kernels have to do."""
    path = compiled(cache) if are_better() else None
    if path is None:
        return None
    try:
        ctypes.CDLL(str(path))
    except OSError as error:  # of a file system that nothing may be run from, say
        log.warning("kernels cannot be loaded: %s; ONNX Runtime's are used", error)
        return None
    return path


def are_better() -> bool:
    """Whether they are quicker here than ONNX Runtime's."""
    return can_run() and _BETTER not in processor()


def can_run() -> bool:
    """Whether the processor has what they are written for."""
    return {"avx2", "fma", "f16c"} <= processor()


def level(library: Path) -> str:
    """What of the processor a library multiplies with, in words."""
    return _LEVELS[ctypes.CDLL(str(library)).lacuna_choose(0)]


def processor() -> frozenset[str]:
    """What the processor can, in Linux's words; nothing elsewhere."""
    if platform.machine() != "x86_64":
        return frozenset()
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


def compiler() -> str | None:
    """Where a C compiler is."""
    return next(filter(None, map(shutil.which, _COMPILERS)), None)


def sources(folder: Path) -> list[Path]:
    """The library's C, headers and all."""
    return sorted([*folder.glob("*.c"), *folder.glob("*.h")])


def compiled(cache: Path, brought: Path = FOLDER) -> Path | None:
    """The library, compiled beside its source, or in the cache before or now; None where that cannot be."""
    code = sources(FOLDER)
    key = hashlib.sha256(b"".join(one.read_bytes() for one in code) + " ".join(_FLAGS).encode()).hexdigest()[:16]
    path = cache / f"kernels-{key}.so"
    for kept in (brought / path.name, path):
        if artifact_cache.is_whole(kept):
            return kept
    found = compiler()
    if found is None:
        return None
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="kernels-") as workshop:
            made = Path(workshop) / path.name
            command = [found, *_FLAGS, "-o", str(made), *(str(one) for one in code if one.suffix == ".c")]
            subprocess.run(command, check=True, timeout=_TIME, capture_output=True)
            artifact_cache.keep(Path(workshop), path)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("kernels cannot be compiled with %s: %s; ONNX Runtime's are used", found, error)
        return None
    return path


def main() -> None:
    """The command. Ends well where there can be none: nothing depends on them."""
    folder = FOLDER
    if not can_run():
        print("this processor has no AVX2, which the kernels are written for")
    elif (made := compiled(folder, folder)) is None:
        print("the kernels are not compiled: no C compiler was found, or it failed; ONNX Runtime's serve")
    else:
        for other in folder.glob("kernels-*.*"):
            if other.stem != made.stem:
                other.unlink()
        print(made)


if __name__ == "__main__":
    main()
