"""The judge of infilling: its tasks, its baseline, its locked-down runs, its intervals."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks import five_gram, infill, infill_tasks, plot, verbatim, verdict
from benchmarks.infill_tasks import Task
from training.sources import SourceFile


def filled(tables_of: str, prefix: str) -> str:
    words = five_gram.Words()
    return five_gram.answer(words, [five_gram.count(words.numbers(tables_of))], prefix)


def test_the_five_gram_writes_on_what_the_file_says_elsewhere() -> None:
    file = "alpha = read(path, mode)\nbeta = 1\nif alpha:\n    "
    assert filled(file, file + "gamma = read(") == "path, mode)"


def test_the_five_gram_asks_the_open_file_before_the_larger_text() -> None:
    words = five_gram.Words()
    far = five_gram.count(words.numbers("x = load(one)\n" * 3))
    near = five_gram.count(words.numbers("x = load(two)\n"))
    assert five_gram.answer(words, [near, far], "x = load(") == "two)"
    assert five_gram.answer(words, [far], "x = load(") == "one)"


def test_the_five_gram_takes_what_follows_most_often() -> None:
    assert filled("a b\na c\na c\n", "z a") == " c"


def test_the_five_gram_completes_the_word_that_the_cursor_cuts() -> None:
    assert filled("value = counter(one)\nvalue = counter(two)\n", "value = cou") == "nter(one)"
    assert filled("value = counter(one)\n", "zz") == ""


def test_words_put_together_are_the_text_again() -> None:
    words, text = five_gram.Words(), "def f(x):\n    return x['a'] + 1\n"
    assert words.text(words.numbers(text).tolist()) == text


def test_a_program_passes_only_when_its_test_does() -> None:
    assert verdict.passes("def f():\n    return 1\nassert f() == 1")
    assert not verdict.passes("def f():\n    return 2\nassert f() == 1")
    assert not verdict.passes("def f(:")


@pytest.mark.parametrize(
    "program",
    [
        "while True:\n    pass",
        "x = bytearray(1 << 32)",
        "open('large', 'wb').write(bytes(1 << 22))",
        "import os\nassert 'HOME' in os.environ",
    ],
)
def test_a_program_under_test_cannot_run_on_eat_memory_or_look_around(program: str) -> None:
    assert not verdict.passes(program, seconds=1)


def test_a_program_under_test_reaches_no_network_where_that_can_be_kept_from_it() -> None:
    if verdict.has_network():
        pytest.skip("this system lets no user open a network namespace")
    assert not verdict.passes("import socket\nsocket.create_connection(('127.0.0.1', 9), 1)")
    assert verdict.passes("import socket\nassert len(socket.if_nameindex()) <= 1")


def test_a_gap_closed_by_its_answer_is_the_file() -> None:
    text = "".join(f"def name_{n}(value):\n    return value + {n}\n\n" for n in range(30))
    tasks = infill_tasks.held_out([("python", "a.py", text)], 20, seed=1)
    assert {task.suite for task in tasks} == {"held-out mid-line python", "held-out whole line python"}
    for task in tasks:
        assert task.prefix + task.answer + task.suffix in text + "\n"
        assert "\n" not in task.answer and task.answer.strip()


def test_scores_count_exact_answers_and_keep_to_their_interval() -> None:
    tasks = [Task("s", str(n), "a.py", "x = ", str(n), "\n", 1) for n in range(10)]
    found = infill.score(tasks, "sevens", lambda task: " 7 ", run_tests=False)
    assert found.exact == 0.1 and found.passed is None
    assert found.exact_interval == pytest.approx((0.0179, 0.4042), abs=1e-3)
    assert infill.interval(0, 10)[0] == 0 and infill.interval(10, 10)[1] == 1


def test_pass_at_one_runs_what_is_not_the_very_answer() -> None:
    task = Task(
        "s", "n", "a.py", "def f():\n", "    return 1 + 1", "\n", 1, "def check(g):\n    assert g() == 2\ncheck(f)\n"
    )
    right = infill.score([task], "other words", lambda one: "    return 2", run_tests=True)
    wrong = infill.score([task], "wrong", lambda one: "    return 3", run_tests=True)
    assert (right.exact, right.passed) == (0, 1)
    assert wrong.passed == 0


def test_a_text_repeats_the_corpus_from_fifty_tokens_on() -> None:
    words = [f"word{number}" for number in range(200)]
    file = SourceFile("p", "train", "a.py", "python", " ".join(words))
    fresh = "new " * 60
    assert verbatim.repeating([fresh + " ".join(words[20:70]), fresh, "short"], [file]) == (2, 1)
    assert verbatim.repeating([fresh + " ".join(words[20:69]) + fresh], [file]) == (1, 0)


def test_a_plot_shows_every_bar_with_its_interval_and_names_what_it_shows() -> None:
    drawn = plot.bars(
        "A <title>", {"one": {"model": plot.Bar(5, 2, 9), "other": plot.Bar(0)}, "two": {"other": plot.Bar(3)}}, "%"
    )
    root = ElementTree.fromstring(drawn)
    texts = [found.text for found in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A <title>", "one", "two", "model", "other", "%", "5.0", "3.0"} <= set(texts)
    widths = [float(found.get("width", 0)) for found in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths[2] / widths[4] == pytest.approx(5 / 3, abs=0.01)
    with pytest.raises(ValueError, match="0 series"):
        plot.bars("nothing", {}, "%")
