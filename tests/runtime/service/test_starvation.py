"""Who goes first because nothing came of asking."""

from __future__ import annotations

import pytest

from model_runtime.service.starvation import LEFT, LONG, SOON, Starvation


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def keys(starvation: Starvation, clock: Clock, client: str, seconds: float) -> list[bool]:
    """What is said of a client that asks every fifth of a second for so long."""
    said = []
    for _ in range(round(seconds * 5)):
        said.append(starvation.starves(client))
        clock.now += 0.2
    return said


def test_who_asks_in_vain_for_long_starves_until_text_comes_in_time(clock: Clock) -> None:
    starvation = Starvation(clock)
    said = keys(starvation, clock, "anna", LONG + 1)
    assert said.index(True) == pytest.approx(LONG * 5, abs=1)
    starvation.feed("anna", clock.now - SOON - 0.1)
    assert starvation.starves("anna")
    starvation.feed("anna", clock.now - SOON + 0.1)
    assert not any(keys(starvation, clock, "anna", LONG - 0.4))


def test_one_starves_apart_from_the_others(clock: Clock) -> None:
    starvation = Starvation(clock)
    for _ in range(20):
        starvation.starves("anna")
        starvation.starves("bert")
        starvation.feed("bert", clock.now)
        clock.now += 0.2
    assert starvation.starves("anna")
    assert not starvation.starves("bert")


def test_who_left_begins_anew_and_who_has_no_name_never_starves(clock: Clock) -> None:
    starvation = Starvation(clock)
    assert not starvation.starves("anna")
    clock.now += LEFT + 1
    assert not starvation.starves("anna")
    assert not any(keys(starvation, clock, "", LONG * 3))


def test_those_who_left_are_forgotten(clock: Clock) -> None:
    starvation = Starvation(clock)
    for at in range(20_000):
        starvation.starves(f"client {at}")
        clock.now += 0.01
    assert len(starvation._vain) < 6_000
