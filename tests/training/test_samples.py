"""Tokenizer, holes, samples, rows and checkpoints of training: everything that needs no torch."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_runtime.prompt import Infill, lay_out
from model_runtime.tokenizer import Tokenizer
from tests import training_sources
from training import checkpoint, holes, packing, run, samples, schedule, snippets, vocabulary

BUCKETS = ((256, 0.6), (512, 0.4))
RUNS = Path(run.__file__).parent / "runs"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    vocabulary.save(vocabulary.learn(training_sources.files(), 512, 1_000_000, 1), folder / "tokenizer.json")
    return Tokenizer.load(folder, vocab_size=512, split_lines=True)


def test_markers_come_first_and_no_text_yields_one(tokenizer: Tokenizer) -> None:
    assert [tokenizer.special(text) for text in vocabulary.SPECIAL] == list(range(8)) == list(range(packing.MARKERS))
    assert min(tokenizer.encode("<|end|><|prefix|>")) >= packing.MARKERS


def test_every_byte_has_a_token_and_every_text_comes_back(tokenizer: Tokenizer) -> None:
    assert {bytes([value]) for value in range(256)} <= {tokenizer.token_bytes(n) for n in range(tokenizer.vocab_size)}
    for text in ("déjà vu ▮ 你好\n", "\tx  =  1\n\n\n", "a\r\nb\x0c\n", training_sources.module("kettle")):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_no_token_holds_a_newline_and_more_nor_two_digits(tokenizer: Tokenizer) -> None:
    for number in range(tokenizer.vocab_size):
        raw = tokenizer.token_bytes(number)
        assert b"\n" not in raw or raw == b"\n"
        assert sum(chr(one).isdigit() for one in raw if one < 128) <= 1


def test_lines_encode_apart(tokenizer: Tokenizer) -> None:
    text = training_sources.module("ladder")
    whole = tokenizer._inner.encode(text, add_special_tokens=False).ids
    assert whole == tokenizer.encode(text)


def test_every_hole_lies_inside_its_text_and_holds_something() -> None:
    text = training_sources.module("meadow")
    one = holes.outline(text, "python")
    found = [holes.draw(one, random.Random(seed)) for seed in range(400)]
    assert {hole.kind for hole in found if hole} == {"rest", "lines", "line", "inside", "node", "block", "span"}
    for hole in found:
        assert hole is not None and 0 <= hole.start < hole.end <= len(text)
        assert text[hole.start : hole.end].strip()


def test_cuts_fall_inside_words_and_between_them() -> None:
    text = training_sources.module("meadow")
    one = holes.outline(text, "python")
    starts = [hole.start for seed in range(300) if (hole := holes.draw(one, random.Random(seed))) and hole.start]
    inside = sum(text[start - 1].isalnum() and text[start].isalnum() for start in starts)
    assert 0.15 < inside / len(starts) < 0.6


def test_text_that_does_not_parse_still_has_holes() -> None:
    one = holes.outline("def broken(:\n    return (1,\n" + training_sources.module("needle"), "python")
    assert one.nodes == ()
    assert holes.draw(one, random.Random(1)) is not None


def parts(sample: samples.Sample, tokenizer: Tokenizer) -> tuple[str, str, str]:
    """Suffix, prefix and middle of a sample, as text."""
    tokens = list(sample.tokens)
    suffix, prefix = (tokens.index(tokenizer.special(one)) for one in (vocabulary.SUFFIX, vocabulary.PREFIX))
    pieces = tokens[suffix:prefix], tokens[prefix : sample.middle], tokens[sample.middle :]
    return tuple(map(tokenizer.decode, pieces))  # type: ignore[return-value]


def drawn(tokenizer: Tokenizer, cross_file: float = 0.0) -> list[tuple[str, samples.Sample]]:
    files = training_sources.files()
    known = snippets.definitions(files)
    recipe = samples.Recipe(BUCKETS, cross_file)
    return [
        (file.text, sample)
        for seed in range(12)
        for file in files
        for sample in samples.samples(file, known, tokenizer, recipe, random.Random(seed))
    ]


def test_a_sample_closed_up_reads_as_the_file_does(tokenizer: Tokenizer) -> None:
    found = drawn(tokenizer)
    with_hole = [one for one in found if one[1].middle < len(one[1].tokens)]
    assert len(with_hole) > 0.6 * len(found) > 20
    for text, sample in found:
        suffix, prefix, middle = parts(sample, tokenizer)
        assert prefix + middle + suffix in text
        assert len(sample.tokens) <= max(length for length, _ in BUCKETS)
        if sample.middle < len(sample.tokens):
            assert sample.tokens[-1] == tokenizer.special(vocabulary.END)


def test_a_prompt_in_training_is_the_prompt_in_serving(tokenizer: Tokenizer) -> None:
    text, sample = next(one for one in drawn(tokenizer) if one[1].middle < len(one[1].tokens))
    suffix, prefix, _ = parts(sample, tokenizer)
    path = next(file.path for file in training_sources.files() if file.text == text)
    served = lay_out(Infill(path, prefix, suffix), tokenizer, samples.FIM, 1024)
    assert served.tokens == sample.tokens[: sample.middle]


def test_snippets_define_what_the_window_uses_and_come_from_other_files(tokenizer: Tokenizer) -> None:
    files = training_sources.files()
    known = snippets.definitions(files)
    window = files[0].text
    found = snippets.context(known, files[0].path, window, "x = AppleBase()", random.Random(3))
    assert found[-1].path == "pack/apple_other.py" and found[-1].text.startswith("class AppleBase")
    assert files[0].path not in {one.path for one in found}
    marker = tokenizer.special(vocabulary.CONTEXT)
    carried = [marker in sample.tokens for _, sample in drawn(tokenizer, cross_file=1.0)]
    assert sum(carried) / len(carried) > 0.2


def test_a_shard_is_the_same_every_time(tokenizer: Tokenizer) -> None:
    files = training_sources.files()

    def made() -> dict[int, packing.Rows]:
        known = packing.DefinitionsByPackage(packing.by_package(files))
        return packing.shard(files, known, tokenizer, samples.Recipe(BUCKETS), seed=5)

    one, other = made(), made()
    assert {length: len(found.tokens) for length, found in one.items()} == {
        length: len(found.tokens) for length, found in other.items()
    }
    for length, found in one.items():
        assert np.array_equal(found.tokens, other[length].tokens)


def test_padding_and_markers_teach_nothing_and_middles_teach_most(tmp_path: Path) -> None:
    tokens = np.array([[2, 50, 3, 60, 4, 70, 80, 0, 0, 0]], dtype=np.uint16)
    one = packing.Rows(tokens, np.array([6], np.uint16), np.array([8], np.uint16), np.array([False]))
    packing.save(tmp_path / "train-00000.npz", {9: one})
    ((found, classes),) = packing.batches(packing.load(tmp_path / "train-00000.npz"), 9, seed=1)
    assert found.tolist() == tokens.tolist()
    assert classes.tolist() == [[1, 0, 1, 0, 1, 2, 2, 0, 0]]


def test_rows_to_be_kept_are_mixed_in_and_marked() -> None:
    def of(tokens: list[list[int]]) -> dict[int, packing.Rows]:
        count = len(tokens)
        starts, ends, kept = np.full(count, 3, np.uint16), np.full(count, 4, np.uint16), np.zeros(count, np.bool_)
        return {3: packing.Rows(np.array(tokens, np.uint16), starts, ends, kept)}

    mixed = packing.with_kept(of([[9, 9, 9, 9]] * 20), of([[8, 8, 8, 8]] * 20), seed=1)
    ((tokens, classes),) = packing.batches(mixed, 120, seed=1)
    assert sorted(tokens[:20, 0].tolist()) not in ([9] * 20, [8] * 20)
    for row, marked in zip(tokens.tolist(), classes.tolist(), strict=True):
        assert marked == ([-1, -1, -2] if row[0] == 8 else [1, 1, 2])


def test_every_file_is_in_one_shard_of_a_pass() -> None:
    files = training_sources.files()
    parts_of = packing.order(files, seed=3, shards=5)
    assert sorted(number for part in parts_of for number in part) == list(range(len(files)))


def test_a_checkpoint_is_cut_into_small_pieces_and_joined_bit_for_bit(tmp_path: Path) -> None:
    random_numbers = np.random.default_rng(1)
    arrays = {
        "large": random_numbers.standard_normal((3000, 4000)).astype(np.float32),
        "small": random_numbers.standard_normal(7),
        "scalar": np.float32(3.5) * np.ones(()),
    }
    checkpoint.save(tmp_path / "latest", arrays, {"step": 7})
    checkpoint.save(tmp_path / "latest", arrays, {"step": 8})
    found, state = checkpoint.load(tmp_path / "latest")
    assert state == {"step": 8}
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
    pieces = list((tmp_path / "latest").glob("*.npz"))
    assert len(pieces) >= 3 and all(piece.stat().st_size <= 16 << 20 for piece in pieces)
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


@pytest.mark.parametrize("path", sorted(RUNS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_run_names_a_network_the_graph_can_hold(path: Path) -> None:
    plan = run.read(path)
    assert not {plan.shape.hidden_size % 32, plan.shape.ffn_size % 32, plan.shape.heads * plan.shape.head_size % 32} - {
        0
    }
    assert plan.shape.heads % plan.shape.kv_heads == 0
    assert sum(share for _, share in plan.rows.buckets) == pytest.approx(1)


def test_a_variant_of_an_ablation_differs_in_what_it_says_alone(tmp_path: Path) -> None:
    steps, found = run.read_variants(RUNS / "ablations" / "recipe.toml")
    base, adamw = found.pop("base"), found["adamw"]
    assert steps > 0 and found
    assert not adamw.rates.muon and base.rates.muon
    assert adamw.shape == base.shape and adamw.rates.momentum == base.rates.momentum
    assert all(one != base and one.seed == base.seed and one.rows == base.rows for one in found.values())


def test_an_ablation_that_misspells_a_field_or_lacks_its_budget_is_refused_by_name(tmp_path: Path) -> None:
    text = (RUNS / "ablations" / "recipe.toml").read_text()
    path = tmp_path / "odd.toml"
    path.write_text(text.replace("muon = false", "moun = false"))
    with pytest.raises(ValueError, match="moun"):
        run.read_variants(path)
    path.write_text(text.replace("[budget]", "[purse]"))
    with pytest.raises(ValueError, match="budget"):
        run.read_variants(path)


def test_a_run_with_a_misspelt_field_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text((RUNS / "bootstrap.toml").read_text().replace("warmup", "warmpu"))
    with pytest.raises(ValueError, match="warmpu"):
        run.read(path)


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    assert schedule.factor(schedule.TrainingProgress(step=0), 4) == 0.25
    assert schedule.factor(schedule.TrainingProgress(step=1000), 4) == 1
    cooling = schedule.TrainingProgress(step=1000, cool_from=1000, cool_steps=100)
    assert [schedule.factor(replace(cooling, step=step), 4) for step in (1000, 1050, 1100)] == [1, 0.5, 0]


def test_a_cool_down_is_bent_to_end_in_the_steps_that_are_left() -> None:
    begun = schedule.bent(schedule.TrainingProgress(step=1000), 200)
    assert (begun.cool_from, begun.cool_steps) == (1000, 200)
    halfway = replace(begun, step=1100)
    slower = schedule.bent(halfway, 40)
    assert schedule.factor(slower, 4) == pytest.approx(0.5, abs=0.02)
    assert slower.cool_from + slower.cool_steps == pytest.approx(1140, abs=1)
    assert schedule.bent(replace(slower, step=1139), 0).cool_steps > 0
