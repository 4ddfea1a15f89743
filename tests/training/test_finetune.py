"""What a team's tuning does without PyTorch: parting files, drawing gaps, judging, and saying no."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lacuna import library
from model_runtime.opening import open_engine
from tests import checkpoints, team, tiny, training_sources
from training import __main__ as command
from training import bases, evaluation, finetune, gaps, repositories
from training.evaluation import Trial
from training.gaps import Filled, Gap
from training.sources import SourceFile


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A team, code by others and a tiny model of ours."""
    return team.folders(tmp_path)


def test_what_is_ignored_stays_out_and_what_is_secret_is_starred(tmp_path: Path) -> None:
    root = team.repository(tmp_path / "team")
    (root / ".gitignore").write_text("built/\n")
    (root / ".lacunaignore").write_text("private.py\n")
    for path in ("built/a.py", "private.py"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(training_sources.module("hidden"))
    key = "AKIA" + "QWERTY2UIOPASDF3"
    (root / "keys.py").write_text(training_sources.module("keys") + f'AWS = "{key}"\n')
    (root / "notes.md").write_text("words\n" * 50)
    found = {file.path: file.text for file in repositories.read(root)}
    assert "keys.py" in found and not {"built/a.py", "private.py", "notes.md"} & set(found)
    assert key not in found["keys.py"] and "*" * len(key) in found["keys.py"]


def test_files_are_parted_whole_and_of_two_copies_the_learnt_one_goes(tmp_path: Path) -> None:
    root = team.repository(tmp_path / "team")
    lots = repositories.parted([root], [], [], 0.3, 1)
    again = repositories.parted([root], [], [], 0.3, 1)
    assert lots == again and lots.held_out and lots.learnt
    paths = [{file.path for file in lot} for lot in (lots.learnt, lots.held_out)]
    assert not paths[0] & paths[1]
    for number, file in enumerate(lots.held_out):  # names that fall among the held out and among the learnt
        (root / f"copy{number}.py").write_text(file.text + "# the same once more\n")
    more = repositories.parted([root], [], [], 0.3, 1)
    kept = [file.text.removesuffix("# the same once more\n") for file in (*more.learnt, *more.held_out)]
    assert len(kept) == len(set(kept)) and more.dropped["near-duplicate"] >= len(lots.held_out)
    assert {file.text for file in lots.held_out} <= {
        file.text.removesuffix("# the same once more\n") for file in more.held_out
    }


def test_what_is_judged_by_is_not_replayed(tmp_path: Path) -> None:
    team.scripts(tmp_path / "others")
    lots = repositories.parted(
        [team.repository(tmp_path / "team")], [tmp_path / "others"], [tmp_path / "others"], 0.3, 1
    )
    assert lots.judged and not lots.replayed  # the same folder for both: judging goes first


def test_a_team_with_too_little_code_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "one.py").write_text(training_sources.module("apple"))
    with pytest.raises(ValueError, match="--repo"):
        repositories.parted([tmp_path / "team"], [], [], 0.3, 1)
    with pytest.raises(ValueError, match="not a directory"):
        repositories.parted([tmp_path / "nowhere"], [], [], 0.3, 1)


def test_a_gap_is_the_end_of_a_line_of_its_file() -> None:
    file = SourceFile("pack", "", "a.py", "python", training_sources.module("meadow", 9))
    found = gaps.drawn([file], gaps.known([]), 10, 1)
    assert len(found) == 10
    for gap in found:
        assert gap.prefix + gap.middle + gap.suffix in file.text
        assert "\n" not in gap.middle and gap.suffix.startswith("\n")


def test_a_gap_whose_surroundings_are_learnt_says_nothing_and_is_left_out() -> None:
    text = training_sources.module("meadow", 9)
    held_out = SourceFile("pack", "", "a.py", "python", text)
    assert gaps.drawn([held_out], gaps.known([held_out]), 10, 1) == []
    half = SourceFile("pack", "", "b.py", "python", text[: len(text) // 2])
    found = gaps.drawn([held_out], gaps.known([half]), 30, 1)
    assert found and all(len(gap.prefix) > len(half.text) // 2 for gap in found)


def test_an_engine_fills_a_gap_and_says_what_the_answer_costs(made: Path) -> None:
    engine = open_engine(made / "base", cache=made / "cache", threads=1)
    gap = Gap("python", "a.py", "def area(r):\n    return ", "r * r", "\n")
    one, again = gaps.filled(engine, [gap, gap])
    assert gaps.priced(engine, [gap]) == [one]
    engine.close()
    assert one == again and not one.exact and one.characters == 5
    assert 5 < one.nats < 1000  # what random weights make of five bytes


def trial(
    language: str, before: float, after: float, hits: tuple[float, float] = (0.3, 0.3), count: int = 100
) -> Trial:
    """Gaps of ten files, whose answers cost so many nats before and after."""
    found = [Gap(language, f"{language}/{number % 10}", "", "x", "\n") for number in range(count)]
    wobble = [0.9 + 0.02 * (number * 7 % 11) for number in range(count)]

    def made_of(cost: float, share: float) -> list[Filled]:
        return [Filled(number % 100 < 100 * share, cost * wobble[number], 10) for number in range(count)]

    return Trial(found, made_of(before, hits[0]), made_of(after, hits[1]))


def together(*some: Trial) -> Trial:
    return Trial(*([one for part in some for one in getattr(part, name)] for name in ("gaps", "before", "after")))


def test_a_model_that_gains_at_home_and_loses_nowhere_is_published() -> None:
    found = evaluation.judged(trial("python", 10, 8, (0.3, 0.5)), together(trial("go", 10, 10.1), trial("c", 10, 9.9)))
    assert found.publishes and found.own["python"].exact_after == 0.5
    lift = found.own["python"].lift
    assert lift is not None and lift.value == pytest.approx(2 / 3) and lift.low <= lift.value <= lift.high
    assert "python" in evaluation.table(found) and "go" in evaluation.table(found)


def test_a_model_that_gains_at_home_and_loses_in_one_language_is_not() -> None:
    found = evaluation.judged(trial("vue", 10, 5, (0.1, 0.6)), together(trial("go", 10, 10), trial("c", 10, 11)))
    assert not found.publishes and len(found.reasons) == 1 and "other c became worse" in found.reasons[0]
    hits = evaluation.judged(trial("vue", 10, 5), together(trial("go", 10, 10), trial("c", 10, 10, (0.9, 0.2))))
    assert not hits.publishes and "90.0 % exact before, 20.0 % after" in hits.reasons[0]


def test_a_model_that_gains_nothing_at_home_is_not() -> None:
    found = evaluation.judged(trial("python", 10, 10), together(trial("go", 10, 10), trial("c", 10, 10)))
    assert not found.publishes and "not shown to be any likelier" in found.reasons[0]


def test_a_gate_that_sees_one_language_says_so() -> None:
    found = evaluation.judged(trial("python", 10, 8), together(trial("go", 10, 10), trial("c", 10, 20, count=20)))
    assert not found.publishes and "--regression" in found.reasons[0]


def test_one_odd_file_is_no_proof_that_a_language_became_worse() -> None:
    others = together(trial("go", 10, 10), trial("c", 10, 10))
    pairs = zip(others.gaps, others.after, strict=True)
    after = [Filled(one.exact, 90.0, 10) if gap.path == "c/3" else one for gap, one in pairs]
    assert evaluation.judged(trial("python", 10, 8), Trial(others.gaps, others.before, after)).publishes


def test_it_goes_as_far_as_no_language_by_others_is_lost() -> None:
    asked: list[float] = []

    def at(share: float) -> list[Filled]:
        asked.append(share)
        return list(together(trial("go", 10, 10 - share), trial("c", 10, 10 + 0.5 * share)).after)

    others = together(trial("go", 10, 10), trial("c", 10, 10))
    assert evaluation.furthest(others.gaps, others.before, at, 0.03) == 0.5  # where C has become 2.5 % dearer
    assert asked == [0.5, 0.8, 0.65]
    assert evaluation.furthest(others.gaps, others.before, at, 0.001) == evaluation.WAYS[-1]


def test_the_files_that_choose_the_way_are_no_files_that_judge_it(tmp_path: Path) -> None:
    team.scripts(tmp_path / "others", 24)
    files = repositories.parted([team.repository(tmp_path / "team")], [], [tmp_path / "others"], 0.3, 1).judged
    chosen_by, judged_by = repositories.halves(files, 1)
    assert chosen_by and judged_by and sorted([*chosen_by, *judged_by], key=files.index) == list(files)


def test_integers_of_a_model_of_ours_are_read_back_as_floats(made: Path, tmp_path: Path) -> None:
    found = bases.opened(made / "base", tmp_path, "int8")
    assert isinstance(found, bases.Own)
    assert all((found.weights[name] == array).all() for name, array in tiny.weights().items())
    (tmp_path / "int8").mkdir()
    coded = bases.opened(tiny.write(tmp_path / "int8"), tmp_path, "int8")
    assert isinstance(coded, bases.Own)
    for name, array in tiny.weights().items():
        assert abs(coded.weights[name] - array).max() < 0.02 * abs(array).max(), name


def test_what_is_no_base_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--base takes"):
        bases.opened(tmp_path, tmp_path, "int8")


def test_the_library_is_where_the_command_line_looks() -> None:
    assert finetune.library() == library.folder()
    assert finetune.library({"XDG_DATA_HOME": "/x"}) == library.folder({"XDG_DATA_HOME": "/x"})
    assert finetune.library({}) == library.folder({})


def test_a_name_that_is_taken_is_refused_before_anything_is_read(made: Path) -> None:
    (made / "library" / "ours").mkdir(parents=True)
    with pytest.raises(ValueError, match="lacuna model remove ours"):
        finetune.finetune(team.order(made))
    assert not (made / "work").exists()


def test_a_dry_run_lays_rows_out_and_tunes_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "is_there", lambda name: True)
    said: list[str] = []
    assert finetune.finetune(team.order(made, dry_run=True), said.append) is None
    assert "steps of about 1024 tokens" in said[-1] and said[0].startswith("learnt")
    assert sorted(path.name for path in (made / "work").iterdir()) == ["order.json", "rows"]
    again = os.stat(made / "work" / "rows" / "train-00000.npz").st_mtime_ns
    finetune.finetune(team.order(made, dry_run=True), said.append)
    assert os.stat(made / "work" / "rows" / "train-00000.npz").st_mtime_ns == again
    finetune.finetune(team.order(made, dry_run=True, seed=2), said.append)  # another order begins anew
    assert os.stat(made / "work" / "rows" / "train-00000.npz").st_mtime_ns != again


@pytest.mark.parametrize("missing", ["torch", "peft"])
def test_without_its_libraries_it_says_which_extra_brings_them(
    made: Path, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(finetune, "is_there", lambda name: name != missing)
    base = checkpoints.llama().write(made / "checkpoint")
    arguments = ["--repo", made / "team", "--base", base, "--replay", "--regression", made / "others"]
    arguments += ["--work", made / "work", "--out", made / "out"]
    monkeypatch.setattr("sys.argv", ["training", "finetune", *map(str, arguments)])
    assert command.main() == 1
    assert capsys.readouterr().err == f"training: tuning this needs {missing}: uv pip install -e '.[cpu,finetune]'\n"


def test_a_method_that_does_not_fit_the_base_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "is_there", lambda name: True)
    with pytest.raises(ValueError, match="leave --method"):
        finetune.finetune(team.order(made, method="lora"))
    base = checkpoints.llama().write(made / "checkpoint")
    with pytest.raises(ValueError, match="configuration of accelerate"):
        finetune.finetune(team.order(made, base=base, launch=made / "none.yaml"))
    with pytest.raises(ValueError, match="--blend is for models of ours"):
        finetune.finetune(team.order(made, base=base, blend=0.5))
    with pytest.raises(ValueError, match="in one process"):
        finetune.finetune(team.order(made, base=base, method="adalora", launch=made / "none.yaml"))


def test_too_little_for_a_step_is_refused_in_words(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "is_there", lambda name: True)
    with pytest.raises(ValueError, match="--batch"):
        finetune.finetune(team.order(made, batch=1 << 20))
