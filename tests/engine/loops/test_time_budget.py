"""A plan of how many updates fit into a time, by a clock that the test sets."""

from __future__ import annotations

import itertools

import pytest

from metricforge.engine.loops.time_budget import TimeBudget


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def run(budget, clock, seconds, *, pause=0.0, begin=0, until=None):
    """Trains until the planned end, each update taking ``seconds``; returns the last update."""
    budget.start()
    update = begin
    while update < budget.end and update != until:
        update += 1
        clock.now += seconds(update)
        budget.note(update)
        if update % 5 == 0:
            budget.revise(update)
        if update % budget.per_epoch == 0:
            clock.now += pause
    return update


def test_a_training_that_fits_goes_through_its_schedule_as_it_is():
    clock = Clock()
    budget = TimeBudget(1000, updates=100, per_epoch=20, clock=clock)
    assert run(budget, clock, lambda update: 1.0) == 100
    assert [budget.position(update) for update in (0, 1, 50, 100)] == [0, 1, 50, 100]


def test_a_training_that_does_not_fit_ends_in_time_with_its_schedule_at_the_end():
    clock = Clock()
    budget = TimeBudget(50, updates=1000, per_epoch=100, clock=clock)
    last = run(budget, clock, lambda update: 1.0)
    assert 45 <= clock.now - 100 <= 50
    assert budget.position(last) == 1000
    positions = [budget.position(update) for update in range(5, last + 1)]
    assert positions == sorted(positions)
    steps = [b - a for a, b in itertools.pairwise(positions)]
    assert max(steps) - min(steps) <= 1, "evenly"


def test_what_is_between_epochs_counts():
    clock = Clock()
    budget = TimeBudget(200, updates=1000, per_epoch=20, clock=clock)
    last = run(budget, clock, lambda update: 1.0, pause=20.0)
    after_a_last_validation = clock.now - 100 + 20 * (last % 20 > 0)
    assert 180 <= after_a_last_validation <= 200


def test_updates_that_become_slower_shorten_the_plan():
    clock = Clock()
    budget = TimeBudget(100, updates=1000, per_epoch=1000, clock=clock)
    last = run(budget, clock, lambda update: 0.5 if update < 50 else 2.0)
    assert clock.now - 100 <= 104
    assert last < 100
    assert budget.position(last) == 1000


def test_the_last_update_is_one_at_which_gathered_gradients_are_used():
    clock = Clock()
    budget = TimeBudget(50, updates=1000, per_epoch=100, multiple=8, clock=clock)
    assert run(budget, clock, lambda update: 1.0) % 8 == 0


def test_a_resumed_training_keeps_the_plan_and_the_time_between_does_not_count():
    clock = Clock()
    whole = TimeBudget(60, updates=1000, per_epoch=30, clock=clock)
    last = run(whole, clock, lambda update: 1.0)

    clock = Clock()
    first = TimeBudget(60, updates=1000, per_epoch=30, clock=clock)
    run(first, clock, lambda update: 1.0, until=25)
    state = first.state_dict()
    clock.now += 5000
    second = TimeBudget(60, updates=1000, per_epoch=30, clock=clock)
    second.load_state_dict(state)
    assert [second.position(update) for update in range(25, last + 1)] == [
        whole.position(update) for update in range(25, last + 1)
    ]
    assert run(second, clock, lambda update: 1.0, begin=25) == last
    assert second.used == pytest.approx(whole.used)


def test_a_time_that_is_over_ends_the_training_at_once():
    clock = Clock()
    budget = TimeBudget(10, updates=1000, per_epoch=100, clock=clock)
    budget.start()
    clock.now += 11
    budget.note(1)
    assert budget.revise(1)
    assert (budget.end, budget.position(1)) == (1, 1000)
