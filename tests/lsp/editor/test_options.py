"""Whatever an editor sends as configuration, there are settings, and a sentence for what was no good."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.editor.options import Settings, resolve

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["enabled", "languages", "debounce", "deadline", "maxLines", "retrieval", "status", "other"])


def test_nothing_sent_gives_the_defaults() -> None:
    assert resolve(None, {}, None) == (Settings(), ())


def test_a_later_layer_wins_and_null_says_nothing() -> None:
    settings, problems = resolve({"deadline": 700, "debounce": 5}, {"deadline": 800, "debounce": None})
    assert (settings.deadline, settings.debounce, problems) == (800, 5, ())


def test_retrieval_is_switched_by_its_enabled() -> None:
    assert resolve({})[0].retrieval
    assert not resolve({"retrieval": {"enabled": False}})[0].retrieval
    assert resolve({"retrieval": {"budget": 3}})[0].retrieval


def test_a_language_is_switched_off_alone() -> None:
    settings, _ = resolve({"languages": {"markdown": False}})
    assert not settings.allows("markdown")
    assert settings.allows("python")
    assert not resolve({"enabled": False})[0].allows("python")


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"deadline": "soon"}, 'lacuna.deadline is "soon"'),
        ({"deadline": -1}, "lacuna.deadline is -1"),
        ({"enabled": 1}, "lacuna.enabled is 1"),
        ({"languages": {"python": "no"}}, "lacuna.languages"),
        ({"retrieval": {"enabled": "no"}}, 'lacuna.retrieval.enabled is "no"'),
        ([1], "must be an object"),
    ],
)
def test_a_bad_value_is_named_and_the_default_kept(sent: object, named: str) -> None:
    settings, problems = resolve(sent, {"status": True})
    assert settings == Settings(status=True)
    assert len(problems) == 1
    assert named in problems[0]


def test_by_hand_a_request_is_held_longer() -> None:
    assert Settings().patience(invoked=False) == 1.0
    assert Settings().patience(invoked=True) == 1.5


@given(st.lists(JSON | st.dictionaries(NAMES, JSON, max_size=4), max_size=3))
def test_any_json_gives_settings(layers: list[object]) -> None:
    settings, problems = resolve(*layers)
    assert isinstance(settings, Settings)
    assert all(len(problem) < 200 for problem in problems)
