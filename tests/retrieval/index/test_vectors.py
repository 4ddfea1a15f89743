"""Code like the cursor's, by vectors: learnt from the repository, kept beside the store, never trusted unchecked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.index import embedding, index, vectors
from retrieval.index.embedding import Kind
from retrieval.index.index import Index
from retrieval.search import search
from retrieval.search.search import Query

TOPICS = {
    "sound": "volume speaker amplify waveform decibel",
    "money": "invoice currency payment ledger interest",
    "plant": "leaf root photosynthesis seedling harvest",
}


@pytest.fixture
def made(tmp_path: Path) -> Index:
    for topic, words in TOPICS.items():
        for number in range(30):
            one, two, *rest = words.split()
            lines = [f"def {topic}_{number}({one}, {two}):", f"    {rest[0]} = {one} + {two} * {number}"]
            lines += [f"    {rest[1]} = {rest[0]} - {number}", f"    return {rest[2]}({rest[1]})"] * 2
            (tmp_path / "root" / topic).mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / topic / f"m{number}.py").write_text("\n".join(lines) + "\n")
    return index.opened(tmp_path / "root", tmp_path / "index")


def topics(made: Index, text: str) -> set[str]:
    return {found.path.split("/")[0] for found in made.like(text, 5, "")}


def test_code_about_the_same_things_is_near(made: Index, tmp_path: Path) -> None:
    with_vectors = index.with_vectors(made, tmp_path / "index")
    assert topics(with_vectors, "payment = invoice(currency)") == {"money"}
    assert topics(with_vectors, "seedling.root.leaf()") == {"plant"}
    assert topics(with_vectors, "") == set()


def test_like_code_fills_what_room_definitions_leave(made: Index, tmp_path: Path) -> None:
    with_vectors = index.with_vectors(made, tmp_path / "index")
    text = "def settle(invoice, currency):\n    payment = invoice + currency * 7\n    "
    found = search.rank(Query("new.py", text, len(text)), with_vectors)
    assert {one.path.split("/")[0] for one in found if one.source == "code"} == {"money"}
    assert len({one.path for one in found if one.source == "code"}) == sum(one.source == "code" for one in found)


@dataclass(frozen=True)
class Letters:
    """Nothing but how often each letter stands in a text."""

    dimensions: int = 26

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        counts = np.array([[text.count(chr(97 + at)) for at in range(26)] for text in texts], np.float32)
        lengths = np.linalg.norm(counts, axis=1, keepdims=True)
        return np.asarray(counts / np.maximum(1.0, lengths), np.float32)

    def to_bytes(self) -> bytes:
        return b"26"


LETTERS = Kind("letters", lambda _: Letters(), lambda content: Letters(int(content)))


def unable(_: Sequence[str]) -> Letters:
    raise AssertionError("there is nothing to learn")


@pytest.mark.parametrize("kind", [embedding.LATENT, LETTERS], ids=lambda kind: kind.name)
def test_vectors_are_read_again_and_not_made_again(made: Index, tmp_path: Path, kind: Kind) -> None:
    index.with_vectors(made, tmp_path / "index", kind)
    again = index.with_vectors(made, tmp_path / "index", replace(kind, learn=unable))
    assert topics(again, "decibel waveform(volume, speaker)") == {"sound"}


def test_another_embedder_may_be_plugged_in_and_vectors_of_one_are_never_read_by_the_other(
    made: Index, tmp_path: Path
) -> None:
    index.with_vectors(made, tmp_path / "index")
    assert vectors.read(tmp_path / "index", made.store, LETTERS) is None
    with_letters = index.with_vectors(made, tmp_path / "index", LETTERS)
    assert topics(with_letters, "xqxqxq") == topics(index.with_vectors(made, tmp_path / "index"), "") == set()
    assert vectors.read(tmp_path / "index", made.store, LETTERS) is None


@pytest.mark.parametrize("harm", ["flip", "cut", "swap", "gone"])
def test_a_damaged_file_is_never_used_and_made_again(made: Index, tmp_path: Path, harm: str) -> None:
    index.with_vectors(made, tmp_path / "index")
    path = tmp_path / "index" / vectors.FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes({"flip": bytes(content), "cut": bytes(content[:100]), "swap": b"x" * len(content)}[harm])
    assert vectors.read(tmp_path / "index", made.store) is None
    mended = index.with_vectors(made, tmp_path / "index")
    assert topics(mended, "payment invoice") == {"money"}
    assert vectors.read(tmp_path / "index", made.store) is not None


def test_a_changed_file_is_found_as_it_is_now_and_a_deleted_one_no_more(made: Index, tmp_path: Path) -> None:
    index.with_vectors(made, tmp_path / "index")
    (tmp_path / "root" / "money" / "m0.py").write_text("def quiet(speaker):\n    return speaker.volume.decibel\n" * 3)
    (tmp_path / "root" / "sound" / "m0.py").unlink()
    with made.store.writing():
        list(index.refreshing(made))
    now = index.with_vectors(made, tmp_path / "index")
    found = [one.path for one in now.like("quiet(speaker).volume", 40, "")]
    assert found[0] == "money/m0.py"
    assert "sound/m0.py" not in found


def test_vectors_have_unit_length_and_texts_without_words_none() -> None:
    embedder = embedding.learn([f"{words} {n}" for words in TOPICS.values() for n in range(40)])
    lengths = np.linalg.norm(embedder.embed(["invoice payment", "", "((( )))"]), axis=1)
    assert lengths == pytest.approx([1, 0, 0], abs=1e-3)
    again = embedding.from_bytes(embedder.to_bytes())
    assert np.allclose(again.embed(["leaf"]), embedder.embed(["leaf"]))
