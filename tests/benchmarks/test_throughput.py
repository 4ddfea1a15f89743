"""The benchmark of the runtime: what it asks of both sides, and what it makes of the answers."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

from benchmarks import key_times, keystrokes, throughput
from benchmarks.key_times import ALONE, MOST, OURS, THEIRS
from benchmarks.keystrokes import Asked
from benchmarks.workspace import copied, package
from model_runtime import manifest
from model_runtime.engine.cache import shared
from model_runtime.opening import open_engine
from model_runtime.tokenizer import Tokenizer
from tests.small_model import SMALL


def test_who_goes_first_changes_with_the_round() -> None:
    order: list[str] = []

    def job(name: str) -> float:
        order.append(name)
        return 2.0 if name == "int4" else 4.0

    jobs = {name: {"decode": lambda name=name: job(name)} for name in ("int4", "llama.cpp")}
    spent = throughput.measure(jobs, rounds=2)
    assert order == ["llama.cpp", "int4", "int4", "llama.cpp", "llama.cpp", "int4"]
    assert spent["int4"]["decode"] == [2.0, 2.0]  # the first round does not count
    assert throughput.ratios(spent) == {"int4": {"decode": 0.5}}


def test_within_a_line_a_key_costs_few_tokens_on_both_sides(tmp_path: Path) -> None:
    described = manifest.read(SMALL)
    tokenizer = Tokenizer.load(SMALL, vocab_size=4096, split_lines=True)
    asked = list(keystrokes.prompts(copied(package("httpx"), tmp_path, 1), tokenizer, described, 30))
    assert len(asked) == 30
    for side, most in (("ours", 2), ("theirs", 12)):
        prompts = [list(getattr(one, side)) for one in asked]
        costs = sorted(len(now) - shared(before, now) for before, now in pairwise(prompts))
        assert costs[len(costs) // 2] <= most
    assert max(len(one.theirs) for one in asked) <= keystrokes.BATCH + 40


def test_a_text_ends_with_its_line_on_both_sides(tmp_path: Path) -> None:
    engine = open_engine(SMALL, cache=tmp_path)
    begun = tuple(engine.tokenizer.encode("import os\n\n\ndef read(path: str) -> str:\n    with open"))
    found = key_times.own_request(engine, None, begun)
    again = key_times.own_request(engine, None, begun)
    assert 1 < found["written"] < MOST and found["whole"] >= found["first"] > 0
    assert again["written"] == found["written"] and again["computed"] == 1 < found["computed"]
    newline, word = engine.tokenizer.encode("\nword")
    ends = key_times.ending(engine.tokenizer, engine.manifest.fim)
    assert newline in ends and engine.tokenizer.special("<|end|>") in ends and word not in ends


def test_each_is_asked_its_own_prompt_and_all_go_first_in_turn() -> None:
    order: list[str] = []

    def answer(name: str, tokens: tuple[int, ...]) -> dict[str, float]:
        order.append(name)
        assert tokens == ((2,) if name == THEIRS else (1,))
        spent = 8.0 if name == THEIRS else 2.0
        return {"first": spent / 2, "whole": spent, "computed": 1, "written": 3}

    contestants = {name: partial(answer, name) for name in (OURS, ALONE, THEIRS)}
    found = key_times.replayed(contestants, iter([Asked((1,), (2,))] * 3))
    assert [order[at] for at in (0, 3, 6)] == [OURS, ALONE, THEIRS]
    summary = key_times.summary(found)
    assert summary["ratio"]["mean"] == summary["ratio without memory"]["p50"] == 0.25
    assert summary[THEIRS]["written mean"] == 3


def test_the_memory_of_a_replay_is_of_the_files_as_they_lie(tmp_path: Path) -> None:
    workspace = copied(package("httpx"), tmp_path, 1)
    tokenizer = Tokenizer.load(SMALL, vocab_size=4096, split_lines=True)
    memory = key_times.remembered(workspace.root, tokenizer)
    known = sum(len(tokenizer.encode(path.read_text("utf-8"))) + 1 for path in workspace.root.rglob("*.py"))
    assert len(memory) == known
    assert all(hole.text not in hole.path.read_text("utf-8") for hole in workspace.holes)


def test_the_picture_shows_every_ratio() -> None:
    found = {"ratio": {"int4": {"prefill 256": 0.5}}, "replay": {"ratio": {"mean": 0.3, "computed mean": 0.4}}}
    drawn = throughput.drawn({"sizes": {"a": found}})
    assert "prefill 256" in drawn and "replay mean" in drawn and "computed" not in drawn
