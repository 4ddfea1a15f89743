"""Pins docs/prompt-format.md: the layouts, what is cut when there is no room, and what one more key costs.

The encoder here has one token per byte, so each expected prompt can be read as text.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runtime.errors import PromptError
from model_runtime.manifest import Fim
from model_runtime.prompt import STEP, Infill, Prompt, Snippet, lay_out, stops
from model_runtime.protocol import RESERVE, InfillRequest, prompt
from tests import tiny
from tests.scripted import description

PAGE = (Path(__file__).parents[2] / "docs" / "prompt-format.md").read_text(encoding="utf-8")

SPM = tiny.FIM
PSM = Fim(
    layout="psm",
    end=("<|endoftext|>",),
    prefix="<|fim_prefix|>",
    suffix="<|fim_suffix|>",
    middle="<|fim_middle|>",
    file="<|file_sep|>",
    context="<|file_sep|>",
)
BARE_PSM = Fim(layout="psm", end=("<EOT>",), prefix="<PRE>", suffix="<SUF>", middle="<MID>")
PREFIX = Fim(layout="prefix", end=("<|endoftext|>",))
STARCODER2 = Fim(
    layout="psm",
    end=("<|endoftext|>", "<file_sep>"),
    prefix="<fim_prefix>",
    suffix="<fim_suffix>",
    middle="<fim_middle>",
    file="<file_sep>",
    context="<file_sep>",
    path_in_prefix=True,
)
CODELLAMA = Fim(
    layout="spm2",
    end=("▁<EOT>", "</s>"),
    begin="<s>",
    prefix="▁<PRE>",
    suffix="▁<SUF>",
    middle="▁<MID>",
    heading="# {path}",
)
CODEGEN2 = Fim(
    layout="mask",
    end=("<eom>",),
    middle="<mask_1>",
    separators=("<|endoftext|>", "<sep>"),
    heading="# {path}",
)
CODEGEN = Fim(layout="prefix", end=("<|endoftext|>",), heading="# {path}")

INFILL = Infill(
    path="app/main.py",
    prefix="def area(r):\n    return ",
    typed="PI",
    suffix=" * r\n",
    context=(Snippet("app/far.py", "TAU = 6.28"), Snippet("app/near.py", "PI = 3.14\n")),
)


class Bytes:
    """One token per byte of text; markers are numbered from 256 in the order they are asked for."""

    def __init__(self) -> None:
        self.markers: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def special(self, token: str) -> int:
        return self.markers.setdefault(token, 256 + len(self.markers))

    def render(self, prompt: Prompt) -> str:
        """The prompt as text, each marker by its name."""
        names = {number: name for name, number in self.markers.items()}
        parts = [names[token].encode() if token >= 256 else bytes([token]) for token in prompt.tokens]
        return b"".join(parts).decode("utf-8", errors="replace")


def check(infill: Infill, fim: Fim, expected: str, limit: int = 4096) -> None:
    encoder = Bytes()
    assert encoder.render(lay_out(infill, encoder, fim, limit)) == expected


def test_the_embedded_model_reads_context_path_suffix_prefix() -> None:
    check(
        INFILL,
        SPM,
        "<|context|>app/far.py\nTAU = 6.28\n"
        "<|context|>app/near.py\nPI = 3.14\n"
        "<|file|>app/main.py\n"
        "<|suffix|> * r\n"
        "<|prefix|>def area(r):\n    return PI",
    )


def test_a_family_of_prefix_suffix_middle_goes_on_from_what_was_typed() -> None:
    check(
        INFILL,
        PSM,
        "<|file_sep|>app/far.py\nTAU = 6.28\n"
        "<|file_sep|>app/near.py\nPI = 3.14\n"
        "<|file_sep|>app/main.py\n"
        "<|fim_prefix|>def area(r):\n    return "
        "<|fim_suffix|> * r\n"
        "<|fim_middle|>PI",
    )


def test_a_family_without_file_markers_gets_neither_path_nor_snippets() -> None:
    check(INFILL, BARE_PSM, "<PRE>def area(r):\n    return <SUF> * r\n<MID>PI")


def test_a_family_that_cannot_infill_reads_the_prefix_alone() -> None:
    check(INFILL, PREFIX, "def area(r):\n    return PI")


def test_a_path_may_belong_into_the_prefix() -> None:
    check(
        INFILL,
        STARCODER2,
        "<file_sep>app/far.py\nTAU = 6.28\n"
        "<file_sep>app/near.py\nPI = 3.14\n"
        "<file_sep><fim_prefix>app/main.py\ndef area(r):\n    return "
        "<fim_suffix> * r\n"
        "<fim_middle>PI",
    )


def test_both_markers_before_the_suffix_and_headings_within_the_prefix() -> None:
    check(
        INFILL,
        CODELLAMA,
        "<s>▁<PRE>▁<SUF> * r\n"
        "▁<MID># app/far.py\nTAU = 6.28\n"
        "# app/near.py\nPI = 3.14\n"
        "# app/main.py\ndef area(r):\n    return PI",
    )


def test_a_mask_stands_in_the_gap_and_asks_for_it_after_the_suffix() -> None:
    check(
        INFILL,
        CODEGEN2,
        "# app/far.py\nTAU = 6.28\n"
        "# app/near.py\nPI = 3.14\n"
        "# app/main.py\ndef area(r):\n    return "
        "<mask_1> * r\n"
        "<|endoftext|><sep><mask_1>PI",
    )


def test_a_family_that_cannot_infill_reads_headings_and_the_prefix() -> None:
    check(
        Infill("a.py", "x = ", "\n", typed="1", context=(Snippet("b.py", "y = 2"),)),
        CODEGEN,
        "# b.py\ny = 2\n# a.py\nx = 1",
    )


def test_a_sample_without_a_gap_has_an_empty_suffix() -> None:
    check(Infill("a.py", "x = 1\n", ""), SPM, "<|file|>a.py\n<|suffix|><|prefix|>x = 1\n")


def test_the_page_names_the_markers_in_the_order_of_the_layout() -> None:
    line = re.search(r"```\n(\[<\|context\|>.*)\n```", PAGE)
    assert line is not None
    on_page = re.findall(r"<\|\w+\|>", line[1])
    encoder = Bytes()
    laid = re.findall(r"<\|\w+\|>", encoder.render(lay_out(INFILL, encoder, SPM, 4096)))
    assert list(dict.fromkeys(laid)) == on_page[:-1]
    assert on_page[-1] == SPM.end[0]


def test_a_marker_of_the_layout_has_a_line_in_the_table_of_the_page() -> None:
    for marker in ("<|end|>", "<|context|>", "<|file|>", "<|suffix|>", "<|prefix|>"):
        assert f"| `{marker}` |" in PAGE


def test_nothing_is_cut_from_what_fits() -> None:
    encoder = Bytes()
    whole = lay_out(INFILL, encoder, SPM, 4096)
    assert whole.cut == 0
    assert lay_out(INFILL, encoder, SPM, 4096 * 4).tokens == whole.tokens


def test_a_long_prefix_loses_its_far_end_in_steps() -> None:
    encoder = Bytes()
    infill = Infill("a.py", "".join(f"{number:07d}\n" for number in range(200)), "")
    markers_and_path = 3 + len("a.py\n")
    starts = set()
    for key in range(3 * STEP):
        typed = Infill(infill.path, infill.prefix, "", typed="k" * key)
        text = encoder.render(lay_out(typed, encoder, SPM, 512)).partition("<|prefix|>")[2]
        full = infill.prefix + typed.typed
        assert full.endswith(text)
        dropped = len(full) - len(text)
        assert dropped % STEP == 0
        assert len(text) <= 512 - markers_and_path
        starts.add(dropped)
    assert len(starts) <= 4, "the cut moved with the keys"


def test_a_long_suffix_keeps_a_quarter_and_its_near_end() -> None:
    encoder = Bytes()
    infill = Infill("a.py", "p" * 2000, "".join(f"{number:07d}\n" for number in range(200)))
    text = encoder.render(lay_out(infill, encoder, SPM, 1024))
    suffix = text.partition("<|suffix|>")[2].partition("<|prefix|>")[0]
    assert suffix == infill.suffix[:256]


def test_the_least_valuable_snippets_go_first_and_whole() -> None:
    encoder = Bytes()
    context = tuple(Snippet(f"{name}.py", name * 100 + "\n") for name in "abc")
    infill = Infill("m.py", "p" * 2000, "", context=context)
    text = encoder.render(lay_out(infill, encoder, SPM, 1024))
    # Each snippet is 1 + 5 + 101 tokens; a quarter of 1024 holds two.
    assert re.findall(r"<\|context\|>(\w)\.py", text) == ["b", "c"]
    assert "b" * 100 + "\n" in text


def test_a_snippet_too_long_for_its_share_is_left_out() -> None:
    encoder = Bytes()
    infill = Infill("m.py", "p" * 2000, "", context=(Snippet("a.py", "a" * 3000),))
    text = encoder.render(lay_out(infill, encoder, SPM, 1024))
    assert "<|context|>" not in text


def test_a_limit_too_small_to_lay_out_says_so() -> None:
    with pytest.raises(PromptError, match=f"allow at least {2 * STEP}"):
        lay_out(INFILL, Bytes(), SPM, 2 * STEP - 1)


@pytest.mark.parametrize("field", ["path", "prefix", "suffix", "typed", "context"])
def test_of_a_text_that_no_prompt_holds_only_a_part_is_encoded(field: str) -> None:
    encoded: list[int] = []

    class Counting(Bytes):
        def encode(self, text: str) -> list[int]:
            encoded.append(len(text))
            return super().encode(text)

    texts = {"path": "a.py", "prefix": "p", "suffix": "s", field: "x" * 2_000_000}
    if field == "context":
        texts[field] = [{"path": f"{number}.py", "text": "x" * 100} for number in range(20_000)]  # type: ignore[assignment]
    request = msgspec.convert({"client": "", **texts}, InfillRequest)
    tokens = prompt(request, Counting(), description()).tokens
    assert sum(encoded) < 40_000
    assert len(tokens) <= description().shape.context_length - RESERVE


def test_a_key_at_the_end_of_a_very_long_text_moves_no_cut() -> None:
    def tokens(typed: int) -> tuple[int, ...]:
        asked = InfillRequest(client="", path="a.py", prefix="".join(map(str, range(50_000))) + "k" * typed, suffix="")
        return prompt(asked, Bytes(), description()).tokens

    moved = sum(tokens(typed)[:40] != tokens(typed + 1)[:40] for typed in range(2 * STEP))
    assert moved <= 3


def test_an_answer_longer_than_the_model_holds_is_refused_with_what_to_ask_for() -> None:
    asked = InfillRequest(client="", path="a.py", prefix="p", suffix="", max_tokens=500)
    with pytest.raises(PromptError, match=f"ask for at most {512 - 2 * STEP}"):
        prompt(asked, Bytes(), description())
    fits = InfillRequest(client="", path="a.py", prefix="p", suffix="", max_tokens=512 - 2 * STEP)
    assert prompt(fits, Bytes(), description()).tokens


def test_a_marker_typed_into_a_file_stays_text() -> None:
    encoder = Bytes()
    encoder.special("<|end|>")
    prompt = lay_out(Infill("a.py", "x = '<|end|>'", ""), encoder, SPM, 4096)
    assert encoder.markers["<|end|>"] not in prompt.tokens


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        (")\n\n\nprint(area(2))\nmore\n", ("\nprint(area(2))\n",)),
        ("\n    }\n", ("\n    }\n",)),
        ("\nlast line", ("\nlast line\n",)),
        (" * r", ()),
        ("", ()),
        ("\n  \n\t\n", ()),
    ],
)
def test_a_model_that_cannot_infill_stops_where_the_suffix_begins(suffix: str, expected: tuple[str, ...]) -> None:
    assert stops(suffix, CODEGEN) == expected


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        ("\n    return total\n", ("\n    return total\n",)),
        ("\n    }\n", ()),
        ("\n        return x\n", ()),
        ("return total", ()),
    ],
)
def test_a_model_that_reads_the_suffix_stops_where_it_writes_it_again(suffix: str, expected: tuple[str, ...]) -> None:
    assert stops(suffix, SPM) == expected


LINES = st.text(alphabet="ab(.\n é▮", max_size=40)
TEXTS = st.builds(lambda line, times: line * times, LINES, st.integers(0, 60))
SNIPPETS = st.lists(st.builds(Snippet, st.sampled_from(["a.py", "b/c.py"]), TEXTS), max_size=4).map(tuple)
INFILLS = st.builds(Infill, st.just("dir/file.py"), TEXTS, TEXTS, TEXTS, SNIPPETS)
LIMITS = st.integers(2 * STEP, 1200)
FIMS = st.sampled_from([SPM, PSM, BARE_PSM, PREFIX, STARCODER2, CODELLAMA, CODEGEN2, CODEGEN])


@given(INFILLS, FIMS, LIMITS)
def test_a_prompt_never_passes_its_limit(infill: Infill, fim: Fim, limit: int) -> None:
    assert len(lay_out(infill, Bytes(), fim, limit).tokens) <= limit


@given(INFILLS, FIMS, LIMITS)
def test_a_prompt_counts_what_it_left_out(infill: Infill, fim: Fim, limit: int) -> None:
    whole = lay_out(infill, Bytes(), fim, 100_000)
    held = lay_out(infill, Bytes(), fim, limit)
    assert held.cut == len(whole.tokens) - len(held.tokens)


@given(INFILLS, FIMS)
def test_a_key_only_appends(infill: Infill, fim: Fim) -> None:
    encoder = Bytes()
    before = lay_out(infill, encoder, fim, 100_000).tokens
    longer = Infill(infill.path, infill.prefix, infill.suffix, infill.typed + "k", infill.context)
    assert lay_out(longer, encoder, fim, 100_000).tokens == (*before, ord("k"))


@given(INFILLS, FIMS, LIMITS)
def test_the_prompt_ends_at_the_cursor(infill: Infill, fim: Fim, limit: int) -> None:
    typed = Infill(infill.path, infill.prefix, infill.suffix, infill.typed + "cursor", infill.context)
    encoder = Bytes()
    assert encoder.render(lay_out(typed, encoder, fim, limit)).endswith("cursor")
