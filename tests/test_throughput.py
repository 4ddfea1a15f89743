"""The benchmark of the runtime: what it asks of both sides, and what it makes of the answers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from benchmarks import keystrokes, throughput
from model_runtime import manifest
from model_runtime.cache import shared
from model_runtime.tokenizer import Tokenizer


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
    described = manifest.read(manifest.embedded())
    tokenizer = Tokenizer.load(manifest.embedded(), vocab_size=4096, split_lines=True)
    asked = list(keystrokes.prompts(tmp_path, tokenizer, described, 30))
    assert len(asked) == 30
    for side, most in (("ours", 2), ("theirs", 12)):
        prompts = [list(getattr(one, side)) for one in asked]
        costs = sorted(len(now) - shared(before, now) for before, now in pairwise(prompts))
        assert costs[len(costs) // 2] <= most
    assert max(len(one.theirs) for one in asked) <= keystrokes.BATCH + 40


def test_the_picture_shows_every_ratio() -> None:
    found = {"ratio": {"int4": {"prefill 256": 0.5}}, "replay": {"ratio": {"mean": 0.3, "computed mean": 0.4}}}
    drawn = throughput.drawn({"sizes": {"a": found}})
    assert "prefill 256" in drawn and "replay mean" in drawn and "computed" not in drawn
