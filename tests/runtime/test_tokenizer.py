"""Text to ids and back, whole and as a stream, with small tokenizers made here."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as HuggingFaceTokenizer

from model_runtime.errors import TokenizerError
from model_runtime.tokenizer import Tokenizer

MARKERS = ("<|end|>", "<|prefix|>")
MERGES = [("Ġ", "Ġ"), ("ĠĠ", "ĠĠ"), ("r", "e"), ("re", "t"), ("x", "Ġ"), ("Ã", "©"), ("xĠ", "Ċ")]


def byte_level(*, across_lines: bool = False) -> HuggingFaceTokenizer:
    """Every byte, a few merges, two markers; with `across_lines` a token may span a newline."""
    alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in MERGES)]
    inner = HuggingFaceTokenizer(models.BPE({piece: number for number, piece in enumerate(alphabet)}, MERGES))
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    lines = pre_tokenizers.Split(Regex(r"\n"), "isolated")
    inner.pre_tokenizer = whole if across_lines else pre_tokenizers.Sequence([lines, whole])
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(marker, special=True) for marker in MARKERS])
    return inner


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(byte_level(), split_lines=True)


TEXTS = st.one_of(st.text(max_size=60), st.text(alphabet="xret \n\r\té🎈", max_size=60))


@given(TEXTS)
@example("return x \n")
@example("\r\n\x00\u2028\x0c")
def test_decoding_gives_the_text_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(TEXTS)
@example("x \nx")
def test_a_text_is_the_sum_of_its_lines(tokenizer: Tokenizer, text: str) -> None:
    unsplit = Tokenizer(byte_level(), split_lines=False)
    assert tokenizer.encode(text) == unsplit.encode(text)


def test_long_lines_do_not_fill_the_memory() -> None:
    tokenizer = Tokenizer(byte_level(), split_lines=True)
    tokenizer.encode("x")
    tracemalloc.start()
    try:
        for number in range(200):
            tokenizer.encode(f"{number}" + "x " * 10_000)
        assert tracemalloc.get_traced_memory()[0] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_tokenizer_that_spans_lines_is_not_split() -> None:
    spanning = Tokenizer(byte_level(across_lines=True), split_lines=False)
    assert len(spanning.encode("x \n")) == 1
    assert len(Tokenizer(byte_level(), split_lines=True).encode("x \n")) == 2


@given(st.lists(TEXTS, max_size=4))
def test_a_stream_gives_what_decoding_gives(tokenizer: Tokenizer, texts: list[str]) -> None:
    tokens = [token for text in texts for token in tokenizer.encode(text)]
    stream = tokenizer.stream()
    assert "".join(map(stream.push, tokens)) + stream.flush() == tokenizer.decode(tokens)


def test_a_stream_holds_a_character_back_until_it_is_whole(tokenizer: Tokenizer) -> None:
    balloon = tokenizer.encode("🎈")
    assert len(balloon) == 4
    stream = tokenizer.stream()
    assert [stream.push(token) for token in balloon] == ["", "", "", "🎈"]
    assert stream.flush() == ""


def test_a_character_that_never_ends_becomes_a_replacement(tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream()
    assert stream.push(tokenizer.encode("🎈")[0]) == ""
    assert stream.flush() == "\ufffd"


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_typed_by_a_user_is_text(tokenizer: Tokenizer, marker: str) -> None:
    tokens = tokenizer.encode(f"x = '{marker}'")
    assert tokenizer.special(marker) not in tokens
    assert tokenizer.decode(tokens) == f"x = '{marker}'"


def test_a_marker_decodes_to_nothing(tokenizer: Tokenizer) -> None:
    end = tokenizer.special("<|end|>")
    assert tokenizer.token_bytes(end) == b""
    assert tokenizer.decode([*tokenizer.encode("a"), end, *tokenizer.encode("b")]) == "ab"


def test_a_row_that_pads_the_networks_vocabulary_stands_for_nothing(tokenizer: Tokenizer) -> None:
    beyond = tokenizer.vocab_size + 100
    assert tokenizer.stream().push(beyond) == ""
    assert tokenizer.decode([*tokenizer.encode("x"), beyond]) == "x"


def test_an_unknown_marker_says_what_to_do(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"no token '<\|middle\|>'.*restore"):
        tokenizer.special("<|middle|>")


@given(TEXTS)
def test_a_count_is_the_length_of_the_encoding(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.count(text) == len(tokenizer.encode(text))


def test_an_encoding_belongs_to_its_caller(tokenizer: Tokenizer) -> None:
    first = tokenizer.encode("return")
    first.append(-1)
    assert tokenizer.encode("return") == first[:-1]


def test_a_saved_tokenizer_loads_as_it_was(tmp_path: Path, tokenizer: Tokenizer) -> None:
    byte_level().save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path, vocab_size=tokenizer.vocab_size, split_lines=True)
    assert loaded.vocab_size == 256 + len(MERGES) + len(MARKERS)
    assert loaded.encode("return x\n") == tokenizer.encode("return x\n")


def test_a_missing_tokenizer_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"cannot read .*tokenizer\.json: No such file.*restore"):
        Tokenizer.load(tmp_path, vocab_size=300)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model": {}}', b"\xff\xfe\x00"])
def test_a_broken_tokenizer_is_no_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json.*restore the model directory"):
        Tokenizer.load(tmp_path, vocab_size=300)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    byte_level().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="265 tokens, the network 100"):
        Tokenizer.load(tmp_path, vocab_size=100)
