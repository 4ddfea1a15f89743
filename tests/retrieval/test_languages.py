"""Which language a file is in."""

from __future__ import annotations

import pytest

from retrieval import languages
from retrieval.syntax import outlines, syntax

FULL = [one for one in languages.LANGUAGES.values() if one.full]


def test_more_than_eighty_languages_are_recognised() -> None:
    assert len(languages.LANGUAGES) > 80


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("a/b.py", "", "python"),
        ("x.TSX", "", "tsx"),
        ("Makefile", "", "make"),
        ("Dockerfile.dev", "", "dockerfile"),
        (".env.local", "", "dotenv"),
        ("CMakeLists.txt", "", "cmake"),
        ("run", "#!/usr/bin/env python3\n", "python"),
        ("run", "#!/bin/bash -e\n", "bash"),
        ("run", "#!/usr/bin/env -S deno run\n", "typescript"),
        ("v.h", "int f(void);\n", "c"),
        ("v.h", "class V {};\n", "cpp"),
        ("unknown.zzz", "", "text"),
        ("noname", "", "text"),
    ],
)
def test_a_name_an_ending_or_an_interpreter_tells(path: str, text: str, name: str) -> None:
    assert languages.of(path, text).name == name


def test_an_editors_language_names_are_understood() -> None:
    found = [languages.named(name) for name in ("typescriptreact", "shellscript", "Python", "klingon")]
    assert [one.name if one else None for one in found] == ["tsx", "bash", "python", None]


@pytest.mark.parametrize("language", FULL, ids=lambda one: one.name)
def test_every_query_compiles_against_its_pinned_grammar(language: languages.Language) -> None:
    syntax.ready(language)
    assert outlines.read("", language) == outlines.EMPTY
