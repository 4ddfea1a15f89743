"""The gate shows what is likely, hides what is not, and learns from what this user takes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import gate as fitting
from benchmarks.moments import Moment
from lsp_server.completion import gate
from lsp_server.completion.gate import Gate
from lsp_server.editor import window
from lsp_server.editor.options import Eagerness
from lsp_server.editor.window import Frame
from lsp_server.feedback.journal import Fate, Outcome
from tests.caret import CARET, snapshot

LIKELY = Gate(bias=-0.5, weights={"mean": 2.0, "word": 0.5}, least={"shy": 0.4, "balanced": 0.2, "eager": 0.05})


def frame(text: str) -> Frame:
    return window.frame(snapshot(text), None)


def outcomes(fates: Iterable[Fate], mean: float = -0.5, *, invoked: bool = False) -> list[Outcome]:
    return [
        Outcome(str(at), 0.0, "python", fate, 10, evidence={"mean": mean}, invoked=invoked)
        for at, fate in enumerate(fates)
    ]


def test_signs_are_those_of_what_would_be_shown_and_not_of_what_was_typed_already() -> None:
    pieces = [(2, -3.0), (4, -0.5), (3, -1.5)]
    seen = gate.features(pieces, "re", "turn x", frame("def f(x):\n    re<caret>\n"), 0.5)
    assert (seen["mean"], seen["worst"], seen["first"], seen["sum"]) == (-1.0, -1.5, -0.5, -2.0)
    assert (seen["word"], seen["start"], seen["fared"]) == (2.0, 0.0, 0.5)
    cut = gate.features(pieces, "re", "turn", frame("def f(x):\n    re<caret>\n"), 0.5)
    assert cut["mean"] == -0.5


def test_signs_say_where_the_cursor_is() -> None:
    def here(text: str) -> dict[str, float]:
        return gate.features([(1, -0.1)], "", "x", frame(text), 0.0)

    assert here("a.<caret>\n")["dot"] == 1.0
    assert here("f(<caret>)\n")["opened"] == here("f(<caret>)\n")["right"] == 1.0
    assert here("    <caret>\n")["start"] == 1.0
    assert here("x = <caret>\n")["spaced"] == 1.0


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(-50, 0)), max_size=8),
    st.text(max_size=6),
    st.text(max_size=30),
    st.text(alphabet="ab (.\t\né", max_size=20),
)
def test_any_suggestion_has_the_same_finite_signs(
    pieces: list[tuple[int, float]], typed: str, text: str, around: str
) -> None:
    seen = gate.features(pieces, typed, text, frame(around + CARET + around), 0.5)
    assert set(seen) == set(gate.fitted().weights)
    assert 0 < gate.fitted().likelihood(seen) < 1


@pytest.mark.parametrize(
    ("mean", "shown"),
    [(0.0, ["shy", "balanced", "eager"]), (-0.5, ["balanced", "eager"]), (-1.2, ["eager"]), (-3.0, [])],
)
def test_the_more_eager_the_less_likely_is_shown(mean: float, shown: list[str]) -> None:
    levels: tuple[Eagerness, ...] = ("shy", "balanced", "eager")
    assert [level for level in levels if LIKELY.opens({"mean": mean, "word": 1.0}, level)] == shown
    assert LIKELY.opens({"mean": mean}, "always")


def test_who_takes_little_is_shown_less_and_who_takes_much_more() -> None:
    features = {"mean": -0.5}
    shy = gate.calibrated(LIKELY, outcomes(["dismissed"] * 95 + ["accepted"] * 5))
    keen = gate.calibrated(LIKELY, outcomes(["accepted"] * 60 + ["overtyped"] * 40))
    assert shy.likelihood(features) < LIKELY.likelihood(features) < keen.likelihood(features)
    assert shy.likelihood(features) < 0.12 and keen.likelihood(features) > 0.4


def test_few_outcomes_and_those_asked_for_by_hand_and_those_replaced_change_nothing() -> None:
    assert gate.calibrated(LIKELY, outcomes(["dismissed"] * (gate.FEW - 1))) is LIKELY
    assert gate.calibrated(LIKELY, outcomes(["dismissed"] * 500, invoked=True)) is LIKELY
    assert gate.calibrated(LIKELY, outcomes(["replaced"] * 500)) is LIKELY


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(-30, 0), st.sampled_from(["accepted", "dismissed"])), min_size=60, max_size=120))
def test_no_outcomes_turn_the_gate_round(seen: list[tuple[float, Fate]]) -> None:
    records = [Outcome("1", 0.0, "go", fate, 5, evidence={"mean": mean}) for mean, fate in seen]
    moved = gate.calibrated(LIKELY, records)
    assert moved.slope > 0
    assert moved.likelihood({"mean": 0.0}) >= moved.likelihood({"mean": -2.0})


def test_how_suggestions_fared_follows_the_newest() -> None:
    acceptance_average = gate.ACCEPTANCE_AVERAGE
    for _ in range(10):
        acceptance_average = gate.moved_average(acceptance_average, "accepted")
    assert acceptance_average > 0.8
    assert gate.moved_average(acceptance_average, "replaced") == acceptance_average
    assert gate.moved_average(acceptance_average, "dismissed") < acceptance_average


def moments(count: int, seed: int, package: str) -> list[Moment]:
    """Suggestions that are right the more often the likelier the model thought them."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        mean = -rng.random() * 3
        right = rng.random() < 1 / (1 + 2.718 ** (-(2 + 2 * mean)))
        features = {"mean": mean, "length": rng.random()}
        one = Moment(id=number, package=package, language="go", key="char", goes_on=True, characters=5, fresh=True)
        found.append(msgspec.structs.replace(one, right=right, features=features))
    return found


def test_the_fit_finds_what_speaks_for_a_suggestion() -> None:
    made = fitting.fit(moments(2000, 1, "a"))
    assert made.weights["mean"] == pytest.approx(2.0, abs=0.4)
    assert abs(made.weights["length"]) < 0.4
    assert made.least["shy"] > made.least["balanced"] > made.least["eager"]
    worth = fitting.worth(made, moments(1000, 2, "b"))
    assert worth["lift_at_half"] > 1.5
    assert worth["calibration_error"] < 0.06
    assert worth["by_eagerness"]["balanced"]["shown"] == pytest.approx(fitting.COVERAGE["balanced"], abs=0.05)


def test_a_gate_is_not_judged_by_what_it_was_fitted_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows"
    rows.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in moments(200, 1, "a")))
    others = tmp_path / "others"
    others.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in moments(200, 2, "b")))
    assert fitting.main(["--fit", str(rows), "--judge", str(rows)]) == 1
    assert "fitted on already" in capsys.readouterr().err
    assert fitting.main(["--fit", str(rows), "--judge", str(others), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lift_at_half"] > 1


def test_rows_that_teach_nothing_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows").write_bytes(b"")
    assert fitting.main(["--fit", str(tmp_path / "rows")]) == 1
    assert "replay more" in capsys.readouterr().err


def test_the_gate_that_ships_names_what_it_was_fitted_on() -> None:
    made = gate.fitted()
    assert set(made.least) == {"shy", "balanced", "eager"}
    assert made.least["shy"] > made.least["balanced"] > made.least["eager"]
    assert made.weights["mean"] + made.weights["worst"] + made.weights["first"] + made.weights["sum"] > 0
    assert {"packages", "suggestions", "by"} <= set(made.fitted)
