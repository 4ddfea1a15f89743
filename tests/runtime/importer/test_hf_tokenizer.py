"""Tokenizers of every kind in, ours out: the layout that the markers tell, and markers that stay text in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from model_runtime import tokenizer
from model_runtime.errors import TokenizerError
from model_runtime.importer import hf_tokenizer
from model_runtime.importer.hf_config import Configuration
from model_runtime.importer.hf_tokenizer import Vocabulary
from model_runtime.manifest import Fim
from model_runtime.prompt import Infill, lay_out
from tests import checkpoints

DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>")
CODEGEN2 = ("<|endoftext|>", "<mask_1>", "<mask_2>", "<sep>", "<eom>")


def imported(directory: Path, found: Tokenizer, **config: Any) -> tuple[Vocabulary, tokenizer.Tokenizer]:
    """What becomes of a tokenizer, and the tokenizer that the runtime then has."""
    directory.mkdir(exist_ok=True)
    found.save(str(directory / "tokenizer.json"))
    return read(directory, found.get_vocab_size(), **config)


def read(directory: Path, vocab_size: int, **config: Any) -> tuple[Vocabulary, tokenizer.Tokenizer]:
    words = hf_tokenizer.vocabulary(directory, Configuration(directory / "config.json", config), vocab_size)
    return words, tokenizer.Tokenizer(Tokenizer.from_str(words.text), split_lines=words.split_lines)


def sentence_pieces() -> Tokenizer:
    """As CodeLlama's: byte-fallback, ▁ for a space, one put before each text, a first token."""
    special = ["<unk>", "<s>", "</s>"]
    pieces = [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", "d", "e", "f", "x", "de", "def", "▁def", "▁▁", "=", "é"]
    markers = ["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"]
    words = {text: at for at, text in enumerate([*special, *pieces, *markers])}
    merges = [("d", "e"), ("de", "f"), ("▁", "def"), ("▁", "▁")]
    inner = Tokenizer(models.BPE(words, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    inner.add_special_tokens([AddedToken(one, normalized=False) for one in special])
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return inner


@pytest.mark.parametrize(
    ("markers", "layout", "path_in_prefix", "heading"),
    [
        (checkpoints.QWEN_MARKERS, "psm", False, None),
        (("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<file_sep>"), "psm", True, None),
        (("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<filename>"), "spm2", False, "# {path}"),
        (("<|endoftext|>", "<fim-prefix>", "<fim-middle>", "<fim-suffix>"), "spm2", False, "# {path}"),
        (DEEPSEEK, "psm", False, "#{path}"),
        (CODEGEN2, "mask", False, "# {path}"),
        (("</s>", "[PREFIX]", "[SUFFIX]", "[MIDDLE]"), "spm", False, "# {path}"),
        (("<|endoftext|>",), "prefix", False, "# {path}"),
        (("<|end|>", "<|context|>", "<|file|>", "<|suffix|>", "<|prefix|>"), "spm", False, None),
    ],
)
def test_the_markers_tell_the_layout(
    markers: tuple[str, ...], layout: str, path_in_prefix: bool, heading: str | None, tmp_path: Path
) -> None:
    words, ours = imported(tmp_path, checkpoints.byte_level(markers), eos_token_id=256)
    fim = words.fim
    assert (fim.layout, fim.path_in_prefix, fim.heading) == (layout, path_in_prefix, heading)
    assert markers[0] in fim.end  # which config.json names
    assert all(ours.token_bytes(ours.special(marker)) == b"" for marker in fim.markers)
    lay_out(Infill("a.py", "x", "y"), ours, fim, 1000)  # every marker it needs is a token


@pytest.mark.parametrize("special", [True, False])
def test_a_marker_typed_into_a_file_stays_text(special: bool, tmp_path: Path) -> None:
    """DeepSeek's and Qwen's markers are not marked as special in their tokenizers."""
    words, ours = imported(tmp_path, checkpoints.byte_level(DEEPSEEK, special=special))
    typed = f"x = '{words.fim.middle}'"
    assert ours.special(str(words.fim.middle)) not in ours.encode(typed)
    assert ours.decode(ours.encode(typed)) == typed


def test_a_tokenizer_that_begins_each_text_says_so(tmp_path: Path) -> None:
    found = checkpoints.byte_level(DEEPSEEK)
    found.post_processor = processors.TemplateProcessing(
        single=f"{DEEPSEEK[0]} $A", special_tokens=[(DEEPSEEK[0], found.token_to_id(DEEPSEEK[0]))]
    )
    words, ours = imported(tmp_path, found, eos_token_id=257)
    assert (words.fim.begin, words.fim.end) == (DEEPSEEK[0], (DEEPSEEK[1],))
    assert len(ours.encode("x")) == 1
    prompt = lay_out(Infill("m.py", "x = ", "\n", typed="1"), ours, words.fim, 1000).tokens
    names = {ours.special(marker): marker for marker in DEEPSEEK}
    shown = "".join(names.get(token) or ours.decode([token]) for token in prompt)
    assert shown == ("<｜begin▁of▁sentence｜><｜fim▁begin｜>#m.py\nx = <｜fim▁hole｜>\n<｜fim▁end｜>1")


def test_a_tokenizer_that_only_ends_each_text_begins_none(tmp_path: Path) -> None:
    found = checkpoints.byte_level(checkpoints.END)
    found.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 256)]
    )
    words, ours = imported(tmp_path, found)
    assert words.fim.begin is None
    assert len(ours.encode("x")) == 1


def test_sentence_pieces_are_read_without_their_leading_space(tmp_path: Path) -> None:
    words, ours = imported(tmp_path, sentence_pieces(), eos_token_id=2)
    assert words.fim == Fim(
        layout="spm2",
        end=("</s>", "▁<EOT>"),
        begin="<s>",
        prefix="▁<PRE>",
        suffix="▁<SUF>",
        middle="▁<MID>",
        heading="# {path}",
    )
    assert words.split_lines
    assert ours.encode("def") == [ours.special("def")]
    assert ours.encode(" def") == [ours.special("▁def")]
    for text in ("def x =  é\n\t日本\n\n  ", " x", "x ", "<0x0A>", "<s>▁<PRE>"[:3]):
        assert ours.decode(ours.encode(text)) == text
    assert ours.special("▁<PRE>") not in ours.encode(" <PRE>")


def test_a_stream_of_sentence_pieces_holds_a_character_back(tmp_path: Path) -> None:
    _, ours = imported(tmp_path, sentence_pieces())
    stream = ours.stream()
    assert [stream.push(token) for token in ours.encode("日")] == ["", "", "日"]


def two_files(directory: Path, **settings: Any) -> Path:
    """vocab.json and merges.txt, as CodeGen's authors publish them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {text: at for at, text in enumerate([*alphabet, "Ġr", "et", "<|endoftext|>"])}
    (directory / "vocab.json").write_text(json.dumps(words))
    (directory / "merges.txt").write_text("#version: 0.2\nĠ r\ne t\n")
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>", **settings}))
    return directory


def test_two_files_make_a_tokenizer(tmp_path: Path) -> None:
    two_files(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"  ": 259, "\t\t": 260}))
    words, ours = read(tmp_path, 264, eos_token_id=258)
    assert (words.fim.layout, words.fim.end) == ("prefix", ("<|endoftext|>",))
    assert [ours.token_bytes(token) for token in ours.encode(" ret")] == [b" r", b"et"]
    assert ours.encode("  x")[0] == 259
    assert ours.decode(ours.encode("\t\tx  y\n")) == "\t\tx  y\n"
    assert ours.special("<|endoftext|>") not in ours.encode("<|endoftext|>")


def test_qwen_two_files_split_words_as_qwen_does(tmp_path: Path) -> None:
    two_files(tmp_path, tokenizer_class="Qwen2Tokenizer")
    _, ours = read(tmp_path, 259, eos_token_id=258)
    assert ours.decode(ours.encode("for i in range(12):\r\n\n  x")) == "for i in range(12):\r\n\n  x"


def test_ids_that_disagree_between_files_are_refused(tmp_path: Path) -> None:
    two_files(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"  ": 300}))
    with pytest.raises(TokenizerError, match=r"is 300 in one file and another in vocab\.json"):
        read(tmp_path, 264)


def test_a_tokenizer_that_merges_across_lines_is_not_split(tmp_path: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    found = Tokenizer(models.BPE({text: at for at, text in enumerate([*alphabet, "ĊĊ"])}, [("Ċ", "Ċ")]))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    words, ours = imported(tmp_path, found)
    assert not words.split_lines
    assert len(ours.encode("\n\n")) == 1


def test_a_space_before_each_text_is_taken_away(tmp_path: Path) -> None:
    found = checkpoints.byte_level(checkpoints.END)
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    _, ours = imported(tmp_path, found)
    assert ours.decode(ours.encode("x1")) == "x1"


@pytest.mark.parametrize("count", [200, 400])
def test_a_tokenizer_of_another_size_is_refused(count: int, tmp_path: Path) -> None:
    checkpoints.byte_level(checkpoints.END).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(
        TokenizerError, match=rf"has 257 tokens, config\.json says {count}; the two belong to different"
    ):
        read(tmp_path, count)


def test_a_tokenizer_that_loses_text_is_refused(tmp_path: Path) -> None:
    found = checkpoints.byte_level(checkpoints.END)
    found.normalizer = normalizers.Lowercase()
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found = Tokenizer(models.WordLevel({"def": 0, "[UNK]": 1}, unk_token="[UNK]"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(TokenizerError, match="comes back as another; only byte-level and byte-fallback BPE"):
        imported(tmp_path, found)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json"])
def test_a_broken_file_beside_it_is_named(name: str, tmp_path: Path) -> None:
    two_files(tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(TokenizerError, match=rf"{name} cannot be read .*download"):
        read(tmp_path, 259)


def test_ends_come_from_both_configurations(tmp_path: Path) -> None:
    found = checkpoints.byte_level((*checkpoints.QWEN_MARKERS, "<|im_end|>"))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [262, 256]}))
    words, _ = imported(tmp_path, found, eos_token_id=256)
    assert words.fim.end[:2] == ("<|endoftext|>", "<|im_end|>")
    assert "<|file_sep|>" in words.fim.end
