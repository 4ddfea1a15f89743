"""The replay types what the author wrote, sees what is wrong with a suggestion, and counts as it says."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from benchmarks import gaps, held_out, lsp_client, moments, replay
from benchmarks.editor import Editor, Mark
from benchmarks.flaws import Shown, flaws
from benchmarks.held_out import Package
from benchmarks.moments import Moment, Through, Written
from benchmarks.replay import Replay
from benchmarks.typist import Typing
from benchmarks.workspace import Hole, Workspace
from retrieval import languages
from tests.editors import scripted_server

GO = """package main

func Sum(values []int, most int) (int, error) {
\ttotal := 0
\tfor _, value := range values {
\t\tif value > most {
\t\t\treturn 0, fmt.Errorf("%d: 'too' much", value)
\t\t}
\t\ttotal += value
\t}
\treturn total, nil
}
"""
RUST = """impl<'a> Parser<'a> {
    pub fn next(&'a self, limit: usize) -> Option<&'a str> {
        let end = self.text[self.at..].find(|c: char| c == '\\n')?;
        match self.kind {
            Kind::Word => Some(&self.text[self.at..self.at + end.min(limit)]),
            _ => None,
        }
    }
}
"""
TYPESCRIPT = """export function label(names: string[], width: number): string {
  const found = names.filter((name) => name !== "");
  if (!found.length) {
    return `nothing of ${width}`;
  }
  return found.join(", ");
}
"""
PYTHON = '''class Box:
    def fill(self, things, limit=None):
        """Puts them in."""
        for thing in things:
            if limit is not None and len(self.things) >= limit:
                raise ValueError("don't fit")
            self.things.append(thing)
        return self

    def empty(self):
        self.things = []
'''
FILES = {"sum.go": GO, "parser.rs": RUST, "label.ts": TYPESCRIPT, "box.py": PYTHON}


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("seed", range(4))
def test_a_file_of_any_language_is_as_it_was_after_its_gaps_were_typed(path: str, seed: int, tmp_path: Path) -> None:
    made = gaps.taken(Package("one", {path: FILES[path]}), tmp_path, 3, seed)
    assert made.holes
    file = made.holes[0].path
    left = file.read_bytes().decode()
    assert len(left.replace("\r\n", "\n")) < len(FILES[path])
    editor, places = gaps.opened(file, made.holes)
    for hole, place in zip(made.holes, places, strict=True):
        typing = Typing(hole.text, place, random.Random(seed))
        editor.jump(place, "")
        keys = 0
        while (key := typing.next_key(editor)) is not None:
            typing.press(key, editor)
            keys += 1
            assert keys < 4 * len(hole.text) + 50, "the typist does not come to an end"
    assert editor.text().replace("\r\n", "\n") == FILES[path]
    assert ("\r\n" in editor.text()) == ("\r\n" in left)


def test_the_step_of_indentation_is_read_from_the_file() -> None:
    assert [gaps.unit(text.split("\n")) for text in FILES.values()] == ["\t", "    ", "  ", "    "]


def test_an_editor_indents_with_tabs_and_ends_lines_as_the_file_does() -> None:
    editor = Editor(["\tif x {"], cursor=Mark(0, 7), pending="}", unit="\t", ending="\r\n")
    editor.lines[0] += "}"
    assert editor.enter()["text"] == "\r\n\t\t\r\n\t"
    assert editor.text() == "\tif x {\r\n\t\t\r\n\t}"


def test_a_suggestion_that_writes_what_stands_on_the_right_again_is_taken_when_it_completes_the_gap() -> None:
    editor = Editor(["call(one, two)"])
    editor.lines[0] = "call()"
    typing = Typing("one, two", Mark(0, 5), random.Random(0))
    editor.jump(Mark(0, 5), "")
    assert typing.would_accept(editor, 0, 5, 6, "one, two)") == 8
    assert typing.would_accept(editor, 0, 5, 6, "one)") is None
    typing.accept(editor, 0, 5, 6, "one, two)")
    assert editor.text() == "call(one, two)"
    assert typing.next_key(editor) is None


@pytest.mark.parametrize(
    ("path", "before", "text", "after", "found"),
    [
        ("a.py", "def f(x):\n    return ", "x", "\n", ()),
        ("a.py", "def f(x):\n    return ", "x<|fim_middle|>", "\n", ("marker", "syntax")),
        ("a.py", "print(", "one)", ")\n", ("closer", "syntax")),
        ("a.py", "print(", "one", ")\n", ()),
        ("a.py", 'print("', 'one"', '")\n', ("closer", "syntax")),
        ("a.py", "print(", "'a', 'b'", ")\n", ()),
        ("a.py", 'def f(x):\n    """\n    * `safe`: A string that is tres', 't": {"Only": None}', "\n", ()),
        ("a.py", '"""\nAs (its ``', "a``).", ')\n"""\n', ()),
        ("a.js", "const a = [1, 2].map(x => { return ", "x; }", " });\n", ("closer", "syntax")),
        ("a.js", "const a = ", "`${1} and ${[2]}`;", "\n", ()),
        ("a.py", "    total = ", "first + second", " + second\n", ("overlap",)),
        ("a.py", "def f(x):\n    y = x\n    ", "return y", "\n    return y\n", ("overlap",)),
        ("a.py", "def f(x):\n    ", "value = x\n    return values", "\n    return value\n", ("overlap",)),
        ("a.py", "if x:\n    ", "pass\n\tpass", "\n", ("tabs",)),
        ("a.go", "func f() {\n\t", "if x {\n\t\treturn\n\t}", "\n}\n", ()),
        ("a.go", "func f() {\n\t", "if x {\n        return\n\t}", "\n}\n", ("tabs",)),
        ("a.py", "if x:\n    y = 1\n    ", "z = 1\n   # so", "\n", ("width",)),
        ("a.py", "if x:\r\n    ", "y = 1\n    z = 2", "\r\n", ("ending",)),
        ("a.py", "if x:\r\n    ", "y = 1\r\n    z = 2", "\r\n", ()),
        ("a.py", "x = ", "(1 +", "\ny = 2\n", ("syntax",)),
    ],
)
def test_what_is_wrong_with_a_suggestion_is_seen(
    path: str, before: str, text: str, after: str, found: tuple[str, ...]
) -> None:
    unit = "\t" if path == "a.go" else "    "
    ending = "\r\n" if "\r\n" in before else "\n"
    shown = Shown(before, "", after, text, right=False, unit=unit, ending=ending)
    assert set(flaws(shown, languages.of(path))) == set(found)


def test_going_on_as_the_author_does_in_a_line_that_is_not_finished_breaks_nothing() -> None:
    """A parser sees two errors in `sizeof` here where it saw one in `sizeo`."""

    def breaks(before: str, text: str, whole: str, *, right: bool) -> bool:
        shown = Shown(before, "", "\n}\n", text, right=right, unit="    ", ending="\n", finished=whole + "\n}\n")
        return "syntax" in flaws(shown, languages.of("a.cpp"))

    begun = "void f()\n{\n    std::array<int, sizeo"
    assert not breaks(begun, "f", begun + "f(int)> all;", right=True)
    assert breaks(begun, "f", begun + "r> all;", right=False)
    assert breaks("void f()\n{\n    ", "return g(", "void f()\n{\n    return g(1);", right=True)


def test_a_line_that_the_author_repeats_is_no_overlap() -> None:
    shown = Shown("x = f(\n    ", "", "\n    None,\n)", "None,", right=True, unit="    ", ending="\n")
    assert "overlap" not in flaws(shown, languages.of("a.py"))


def moment(**more: object) -> Moment:
    known = {"id": 1, "package": "p", "language": "go", "key": "char", "goes_on": True, "source": "model"}
    return Moment(**{**known, **more})  # type: ignore[arg-type]


def test_the_report_counts_suggestions_once_and_places_each() -> None:
    rows = [
        moment(characters=5, lines=1, fresh=True, right=True, taken=True),
        moment(characters=4, lines=1, fresh=True, flaws=("syntax",)),
        moment(characters=3, lines=1, flicker="changed"),
        moment(reason="nothing to add"),
        moment(goes_on=False, characters=3, lines=1, fresh=True),
        moment(source="skip", reason="inside a word"),
        Written(package="p", language="go", characters=20, by_taking=5, keys=15, keys_alone=20, finished=True),
        Written(package="p", language="go", characters=5, by_taking=0, keys=9, keys_alone=5, finished=False),
        Through(requests=1),
        Through(requests=2),
    ]
    found = moments.report(rows)
    assert (found["eligible"], found["shown_share_of_eligible"], found["right_share_of_shown"]) == (4, 0.75, 0.3333)
    assert (found["suggestions"], found["right"], found["acceptance"]) == (3, 1, 0.3333)
    assert (found["characters_by_taking"], found["keystrokes_saved"]) == (0.2, 0.25)
    assert (found["flicker"], found["flaws"]["syntax"], found["syntax_share"]) == ({"changed": 1}, 1, 0.3333)
    assert found["model_requests_for_one_typed_through"] == {"1": 1, "2": 1}
    assert found["languages"]["go"]["places"] == 6
    assert "nothing to add" in moments.table(found)


async def replayed(folder: Path, text: str, hole: Hole, *answers: tuple[str, str], taste: float) -> Replay:
    """A gap of a file written in front of a scripted server."""
    (folder / hole.path.name).write_text(text)
    script = folder / "script.json"
    said = [{"before": before, "items": [{"insertText": answer}]} for before, answer in answers]
    script.write_text(json.dumps({"encoding": "utf-16", "answers": said}))
    client = await lsp_client.start(
        [sys.executable, scripted_server.__file__, str(script), str(folder / "log")],
        environment={},
        root=folder,
        options={},
        errors=folder / "stderr",
        notified=lambda method, params: None,
    )
    found = Replay(client, "p", 50, random.Random(1), 0.0)
    try:
        replay.TASTE = taste
        await replay.write(found, Workspace(folder, (hole,)))
    finally:
        replay.TASTE = 0.8
        await lsp_client.stop(client)
    return found


async def test_what_is_right_is_taken_and_saves_keys(tmp_path: Path) -> None:
    hole = Hole(tmp_path / "a.py", "f", 0, 9, "\n    total = first + second\n    return total")
    made = await replayed(tmp_path, "def f(a):\n", hole, ("total =", " first + second"), taste=1.0)
    assert made.editors[hole.path].text() == "def f(a):\n    total = first + second\n    return total\n"
    (written,) = (row for row in made.rows if isinstance(row, Written))
    assert written.by_taking == len(" first + second")
    assert written.finished
    assert written.keys < written.keys_alone
    (taken,) = (row for row in made.rows if isinstance(row, Moment) and row.fresh)
    assert taken.right and taken.taken and not taken.flaws


async def test_a_suggestion_that_changes_while_it_is_typed_through_flickers(tmp_path: Path) -> None:
    hole = Hole(tmp_path / "a.py", "f", 0, 9, "\n    return total")
    steady = await replayed(
        tmp_path, "def f(a):\n", hole, ("re", "turn total"), ("ret", "urn total"), ("retu", "rn tot"), taste=0.0
    )
    flickers = [row.flicker for row in steady.rows if isinstance(row, Moment) and row.flicker]
    assert flickers == ["changed", "vanished"]  # less than was promised, and then nothing
    assert not steady.through


async def test_closers_that_the_editor_puts_on_a_line_of_their_own_are_no_flicker(tmp_path: Path) -> None:
    hole = Hole(tmp_path / "a.py", "f", 0, 9, '\n    f(\n        "a"\n    )')
    whole = '(\n        "a"\n    )'
    answers = (("a", ""), ('        "', "a"), ("        ", '"a"'), ("f(", whole[1:-1]), (" f", whole))
    made = await replayed(tmp_path, "def f(a):\n", hole, *answers, taste=0.0)
    assert not [row for row in made.rows if isinstance(row, Moment) and row.flicker]
    assert len(made.through) == 1


async def test_a_suggestion_in_a_very_long_file_is_followed(tmp_path: Path) -> None:
    hole = Hole(tmp_path / "a.py", "f", 0, 9, "\n    f(ab)")
    answers = (("f(ab", ""), ("f(a", "b"), ("f(", "ab"), (" f", "(ab)"))
    made = await replayed(tmp_path, "def f(a):\n" + "    g()  # and so on\n" * 4_000, hole, *answers, taste=0.0)
    assert not [row for row in made.rows if isinstance(row, Moment) and row.flicker]
    assert len(made.through) == 1


async def test_a_blank_that_is_left_of_a_suggestion_cannot_be_seen_to_go(tmp_path: Path) -> None:
    hole = Hole(tmp_path / "a.py", "f", 0, 9, "\n    f(a + b)")
    answers = (("f(a", ""), ("f(", "a "), (" f", "(a "))
    made = await replayed(tmp_path, "def f(a):\n", hole, *answers, taste=0.0)
    assert not [row for row in made.rows if isinstance(row, Moment) and row.flicker]


async def test_a_brace_that_the_editor_puts_in_itself_does_not_vanish(tmp_path: Path) -> None:
    hole = Hole(tmp_path / "a.go", "f", 0, 10, "\n\tif a {\n\t\tb()\n\t}")
    answers = (("if a {", ""), ("if a ", "{\n\t}"), ("if a", " {\n\t}"))
    made = await replayed(tmp_path, "func f() {\n}\n", hole, *answers, taste=0.0)
    assert not [row for row in made.rows if isinstance(row, Moment) and row.flicker]


async def test_one_typed_to_its_end_is_followed_there(tmp_path: Path) -> None:
    hole = Hole(tmp_path / "a.py", "f", 0, 9, "\n    f(ab)")
    answers = (("f(ab", ""), ("f(a", "b"), ("f(", "ab"), (" f", "(ab)"))
    made = await replayed(tmp_path, "def f(a):\n", hole, *answers, taste=0.0)
    assert not [row for row in made.rows if isinstance(row, Moment) and row.flicker]
    assert [len(one) for one in made.through] == [3]  # the closer that the editor wrote is the suggestion's own


def test_only_packages_that_no_model_learnt_from_are_replayed() -> None:
    assert not set(held_out.FITTED) & set(held_out.JUDGED)
    with pytest.raises(ValueError, match="numpy: not among the held-out packages"):
        held_out.packages(["numpy"])
