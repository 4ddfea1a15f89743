"""Whose turn it is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from model_runtime.engine.scheduler import Scheduler, Turn
from model_runtime.engine.sequence import Generation
from model_runtime.errors import Overloaded
from model_runtime.owner import LOCAL, Owner, of_token
from model_runtime.protocol import Priority


def enter(
    scheduler: Scheduler, client: str, unread: int = 100, priority: Priority = "automatic", owner: Owner = LOCAL
) -> Turn:
    generation = Generation((1,) * unread, client=client, owner=owner, priority=priority)
    return Turn(generation, unread, *scheduler.enter(generation, unread))


def measured() -> Scheduler:
    scheduler = Scheduler()
    scheduler.read(1000, 1.0, contended=False)
    scheduler.wrote(0.01)
    return scheduler


def turns(scheduler: Scheduler, waiting: list[Turn]) -> Iterator[Turn]:
    """Those who wait, in the order in which they are served."""
    while waiting:
        turn = scheduler.next(waiting, [])
        assert turn is not None
        waiting.remove(turn)
        yield turn


def test_clients_take_turns_however_much_one_of_them_asks() -> None:
    scheduler = measured()
    waiting = [enter(scheduler, "greedy") for _ in range(4)] + [enter(scheduler, "modest") for _ in range(2)]
    served = [turn.generation.client for turn in turns(scheduler, waiting)]
    assert served == ["greedy", "modest", "greedy", "modest", "greedy", "greedy"]


def test_who_gives_no_name_takes_turns_with_all_who_give_none() -> None:
    scheduler = measured()
    flood = [enter(scheduler, "") for _ in range(5)]
    assert scheduler.next(flood, []) is flood[0]
    named = enter(scheduler, "named")
    assert scheduler.next([*flood[1:], named], []) is named


def test_a_user_of_many_names_gets_one_users_turns() -> None:
    scheduler = measured()
    anna, bert = of_token("anna"), of_token("bert")
    waiting = [enter(scheduler, str(at), owner=anna) for at in range(4)]
    waiting += [enter(scheduler, "0", owner=bert) for _ in range(2)]
    served = [turn.generation.owner.token for turn in turns(scheduler, waiting)]
    assert served == ["anna", "bert", "anna", "bert", "anna", "anna"]


def test_a_client_that_was_away_gets_no_credit_for_it() -> None:
    scheduler = measured()
    for _ in range(5):
        scheduler.next([enter(scheduler, "busy")], [])
    returned, busy = enter(scheduler, "away"), enter(scheduler, "busy")
    assert scheduler.next([returned, busy], []) is returned
    assert scheduler.next([enter(scheduler, "away"), busy], []) is busy


def test_a_higher_priority_goes_first_in_reading_and_in_writing() -> None:
    scheduler = measured()
    hand, automatic = enter(scheduler, "one", priority="hand"), enter(scheduler, "two")
    prefetch = enter(scheduler, "three", priority="prefetch")
    assert scheduler.next([prefetch, automatic, hand], []) is hand
    assert scheduler.next([hand], [automatic]) is hand
    assert scheduler.next([automatic], [hand]) is None
    assert scheduler.next([prefetch], [automatic]) is None


def test_writing_gets_as_much_time_as_reading_took() -> None:
    scheduler = measured()
    reader, writer = enter(scheduler, "one"), enter(scheduler, "two")
    assert scheduler.next([reader], [writer]) is reader
    scheduler.read(128, 0.030, contended=True)
    steps = 0
    while scheduler.next([reader], [writer]) is None:
        scheduler.wrote(0.010)
        steps += 1
    assert steps == 3


def test_no_starvation_behind_a_stream_of_newcomers() -> None:
    scheduler = measured()
    patient = enter(scheduler, "patient", unread=1000)
    for at in range(50):
        if scheduler.next([enter(scheduler, f"newcomer {at}", unread=10), patient], []) is patient:
            return
    raise AssertionError("the patient one never had a turn")


def test_who_starves_goes_first_and_is_refused_only_behind_others_who_do() -> None:
    scheduler = measured()
    others = [enter(scheduler, "one", 400), enter(scheduler, "two", 400)]
    starved = Generation((1,) * 100, client="three", starved=True, deadline=time.monotonic() + 0.5)
    scheduler.check(starved, 100, others)
    turn = Turn(starved, 100, *scheduler.enter(starved, 100))
    assert scheduler.next([*others, turn], []) is turn
    invoked = enter(scheduler, "four", priority="hand")
    assert scheduler.next([*others, turn, invoked], []) is invoked
    long = Generation((1,) * 900, client="five", starved=True)
    with pytest.raises(Overloaded):
        scheduler.check(starved, 100, [*others, Turn(long, 900, *scheduler.enter(long, 900))])


def test_only_who_is_late_because_of_others_is_refused() -> None:
    scheduler = measured()
    others = [enter(scheduler, "one", 400), enter(scheduler, "two", 400)]
    soon = Generation((1,), deadline=time.monotonic() + 0.5)
    with pytest.raises(Overloaded, match="2 requests go first"):
        scheduler.check(soon, 100, others)
    scheduler.check(soon, 100, [])
    scheduler.check(soon, 2000, others)  # late by itself, and every chunk makes the next key quicker
    scheduler.check(Generation((1,)), 100, others)
    scheduler.check(soon, 100, [enter(scheduler, "three", 4000, priority="prefetch")])
