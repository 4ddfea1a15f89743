"""The memory that this process has now: laid in large pages, or given back, where the system can. Linux only.

A token reads all of a model's weights. In pages of 4 kB a good part of that time goes into finding where each page
lies, and not into reading it. Nothing is moved that is in use by anybody else, and nothing depends on its success.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from contextlib import suppress
from pathlib import Path

_LARGE = 2 << 20  # bytes
_PIECE = 64 << 20  # bytes laid at once: 30 ms
_AFTER, _BETWEEN = 1.0, 0.12  # seconds until the first piece, and between two: what loads or is asked first goes on
_ADVISE, _COLLAPSE = 14, 25  # MADV_HUGEPAGE, and MADV_COLLAPSE of Linux 6.1
_MAPS = Path("/proc/self/maps")


def enlarge(after: float = _AFTER) -> threading.Timer | None:
    """Begins to, so many seconds later, beside everything else: two seconds a gigabyte, a fifth of a core.

    None where there are no such pages. To be cancelled when the memory is given up.
    """
    if sys.platform != "linux":
        return None
    timer = threading.Timer(after, _collapse)
    timer.args = (own(), timer.finished)
    timer.daemon = True
    timer.start()
    return timer


def give_back() -> None:
    """To the system what nobody uses, of which the C library keeps all that lies between what is in use."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)


def own(maps: Path = _MAPS) -> list[tuple[int, int]]:
    """Start and length of the regions of private memory that are no file's, in whole large pages."""
    found = []
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        addresses, rights, _, _, file, *name = line.split(maxsplit=5)
        first, behind = (int(one, 16) for one in addresses.split("-"))
        start, end = -(-first // _LARGE) * _LARGE, behind // _LARGE * _LARGE
        if rights == "rw-p" and file == "0" and name in ([], ["[heap]"]) and start < end:
            found.append((start, end - start))
    return found


def _collapse(regions: list[tuple[int, int]], over: threading.Event) -> None:
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for start, length in regions:
        for at in range(start, start + length, _PIECE):
            piece = min(_PIECE, start + length - at)
            for advice in (_ADVISE, _COLLAPSE):
                advise(at, piece, advice)  # what has gone in between is refused, and no harm done
            if over.wait(_BETWEEN * piece / _PIECE):
                return
