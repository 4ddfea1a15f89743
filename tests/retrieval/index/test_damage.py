"""An index on disk that somebody or something has written over is made anew, wherever the damage is."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.errors import StoreBroken
from retrieval.index import index, store

PAGE = 4096
HARMS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "zeros": lambda page, chance: bytes(len(page)),
    "noise": lambda page, chance: chance.randbytes(len(page)),
    "half": lambda page, chance: page[: PAGE // 2] + bytes(PAGE // 2),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    for number in range(6):
        lines = [f"def f{number}_{n}(x: int):\n    return tangent_{number}_{n}(x) + 1" for n in range(20)]
        (tmp_path / "root" / f"m{number}.py").write_text("\n".join(lines) + "\n")
    return tmp_path / "root"


def told(root: Path, directory: Path) -> tuple[object, ...]:
    """What an index says."""
    made = index.opened(root, directory)
    names = {path: [one.definition.path for one in made.definitions(path)] for path in sorted(made.store.stamps())}
    found = [one.path for one in made.mentioning({"tangent_3_3": 1.0}, 5, "")]
    chunks = [text for _, text in made.store.chunks_after(0, 999)]
    made.store.close()
    return names, found, chunks


@pytest.mark.parametrize("harm", HARMS)
def test_each_page_of_a_database_may_be_harmed_and_no_answer_is_wrong(root: Path, tmp_path: Path, harm: str) -> None:
    right = told(root, tmp_path / "index")
    path = tmp_path / "index" / index.DATABASE
    whole, chance = path.read_bytes(), random.Random(3)
    assert len(whole) > 20 * PAGE
    for start in range(0, len(whole), PAGE):
        page = HARMS[harm](whole[start : start + PAGE], chance)
        path.write_bytes(whole[:start] + page + whole[start + PAGE :])
        assert told(root, tmp_path / "index") == right, f"page {start // PAGE}"


def test_a_database_cut_off_anywhere_is_made_anew(root: Path, tmp_path: Path) -> None:
    right = told(root, tmp_path / "index")
    path = tmp_path / "index" / index.DATABASE
    whole = path.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        assert told(root, tmp_path / "index") == right


def test_a_reader_is_told_what_is_wrong(root: Path, tmp_path: Path) -> None:
    told(root, tmp_path / "index")
    path = tmp_path / "index" / index.DATABASE
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreBroken, match=r"damaged \(.*\); it has to be built again"):
        store.open_store(path)
