"""What is taken back of a prompt, and what the model is then held to."""

from __future__ import annotations

from model_runtime.engine.token_healing import Spellings

WORDS = [b"", b"re", b"ret", b"ur", b"return", b"return ", b" ", b"  ", b"x", b"\n", b"\n  ", b"retu"]
SPELLINGS = Spellings(WORDS)


def ids(*words: bytes) -> tuple[int, ...]:
    return tuple(WORDS.index(word) for word in words)


def test_the_beginning_of_a_longer_token_is_taken_back_across_tokens() -> None:
    assert SPELLINGS.healed(ids(b"x", b"ret", b"ur")) == (ids(b"x"), b"retur")


def test_what_no_token_goes_on_from_stays() -> None:
    assert SPELLINGS.healed(ids(b"x", b"return ")) == (ids(b"x", b"return "), b"")


def test_neither_a_marker_nor_a_line_is_taken_back_and_one_token_stays() -> None:
    assert SPELLINGS.healed(ids(b"", b"re")) == (ids(b""), b"re")
    assert SPELLINGS.healed(ids(b"x", b"\n")) == (ids(b"x", b"\n"), b"")
    assert SPELLINGS.healed(ids(b"x", b"\n", b" ")) == (ids(b"x", b"\n"), b" ")
    assert SPELLINGS.healed(ids(b"re")) == (ids(b"re"), b"")
    assert SPELLINGS.healed((*ids(b"x"), 99)) == ((*ids(b"x"), 99), b"")  # a row that pads the network's vocabulary


def test_only_tokens_that_spell_what_was_typed_fit() -> None:
    assert {WORDS[token] for token in SPELLINGS.fitting(b"retur")} == {b"re", b"ret", b"retu", b"return", b"return "}
    assert {WORDS[token] for token in SPELLINGS.fitting(b"x")} == {b"x"}
