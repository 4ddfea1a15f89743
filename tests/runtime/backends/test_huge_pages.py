"""Large pages: which memory they are for, and that nothing in it changes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from model_runtime.backends import huge_pages

MAPS = """\
00400000-00e00000 r-xp 00000000 fe:00 262186 /usr/bin/python3
01100000-01900000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000900000 rw-p 00000000 00:00 0
7f0001000000-7f0001100000 rw-p 00000000 00:00 0
7f0002000000-7f0003000000 rw-s 00000000 00:01 1024 /dev/shm/ours
7f0004000000-7f0005000000 r--p 00000000 fe:00 4711 /models/model.onnx.data
7ffc00000000-7ffc00800000 rw-p 00000000 00:00 0 [stack]
"""


def test_only_memory_of_ones_own_is_for_large_pages(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text(MAPS)
    mega = 1 << 20
    assert huge_pages.own(tmp_path / "maps") == [(0x01200000, 6 * mega), (0x7F0000000000, 8 * mega)]
    assert huge_pages.own(tmp_path / "none") == []


@pytest.mark.skipif(sys.platform != "linux", reason="there are such pages on Linux only")
def test_what_lies_in_memory_stays_as_it_is() -> None:
    numbers = np.arange(3 << 20)
    timer = huge_pages.enlarge(after=0)
    assert timer is not None
    timer.join(30)
    assert not timer.is_alive()
    assert np.array_equal(numbers, np.arange(3 << 20))


@pytest.mark.skipif(sys.platform != "linux", reason="there are such pages on Linux only")
def test_memory_given_up_in_between_stays_as_it_is() -> None:
    timer = huge_pages.enlarge(after=60)
    assert timer is not None
    timer.cancel()
    timer.join(30)
    assert not timer.is_alive()
